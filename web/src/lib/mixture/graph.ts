// A mixture as a graph: where its boxes stand, and what goes from where to where. From left to right where there is
// room, else from top to bottom.
import type { Mixture } from "../api/schema";

export interface Box {
  kind: "end" | "member" | "mixture" | "aggregator";
  name: string;
  // What stands above the name in small letters: whose model it is.
  of: string;
  // How often it is asked, where that is more than once.
  times: number;
  // The name of the mixture that it is, for a link.
  mixture?: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Edge {
  path: string;
}

export interface Graph {
  width: number;
  height: number;
  boxes: Box[];
  edges: Edge[];
}

type Asked = Omit<Box, "x" | "y" | "width" | "height">;

// What a question goes through, stage by stage.
export function stages(mixture: Mixture): Asked[][] {
  const { aggregator } = mixture;
  const last: Asked = aggregator.model
    ? { ...named(aggregator.model, 1), kind: aggregator.model.startsWith("moa:") ? "mixture" : "aggregator" }
    : { kind: "aggregator", name: "vote", of: "the most frequent answer", times: 1 };
  const end = (name: string): Asked[] => [{ kind: "end", name, of: "", times: 1 }];
  return [end("question"), ...mixture.layers.map((layer) => layer.map((one) => named(one.model, one.samples))), [last], end("answer")];
}

function named(model: string, times: number): Asked {
  const colon = model.indexOf(":");
  const provider = model.slice(0, colon);
  const name = model.slice(colon + 1);
  if (provider === "moa") return { kind: "mixture", name, of: "mixture", times, mixture: name };
  const slash = name.lastIndexOf("/");
  return { kind: "member", name: name.slice(slash + 1), of: provider, times };
}

const BOX = { width: 172, height: 44 };
const END = { width: 78, height: 32 };
const GAP = { along: 52, beside: 10 };

// `room` is the width there is, in pixels.
export function graph(mixture: Mixture, room: number): Graph {
  const told = stages(mixture);
  const wide = told.length * GAP.along - GAP.along + 2 * END.width + (told.length - 2) * BOX.width;
  return wide <= room ? across(told) : down(told, Math.min(Math.max(room, 280), 480));
}

function across(told: readonly Asked[][]): Graph {
  const height = Math.max(...told.map((stage) => column(stage)));
  const placed: Box[][] = [];
  let x = 0;
  for (const stage of told) {
    const size = stage[0]!.kind === "end" ? END : BOX;
    let y = (height - column(stage)) / 2;
    placed.push(
      stage.map((one) => {
        const box = { ...one, ...size, x, y };
        y += size.height + GAP.beside;
        return box;
      }),
    );
    x += size.width + GAP.along;
  }
  const edges = placed.slice(1).flatMap((stage, before) => placed[before]!.flatMap((from) => stage.map((to) => curve(from, to))));
  return { width: x - GAP.along, height, boxes: placed.flat(), edges };
}

function column(stage: readonly Asked[]): number {
  const size = stage[0]!.kind === "end" ? END : BOX;
  return stage.length * (size.height + GAP.beside) - GAP.beside;
}

function curve(from: Box, to: Box): Edge {
  const [x, y] = [from.x + from.width, from.y + from.height / 2];
  const [end, beside] = [to.x, to.y + to.height / 2];
  const bend = (end - x) / 2;
  return { path: `M${x} ${y}C${x + bend} ${y} ${end - bend} ${beside} ${end} ${beside}` };
}

// Rows of two; between the stages one arrow stands for all.
function down(told: readonly Asked[][], width: number): Graph {
  const boxes: Box[] = [];
  const edges: Edge[] = [];
  const arrow = 28;
  let y = 0;
  for (const [number, stage] of told.entries()) {
    const size = stage[0]!.kind === "end" ? END : BOX;
    const abreast = Math.min(2, stage.length);
    const each = size === END ? END.width : (width - GAP.beside) / 2;
    if (number) {
      edges.push({ path: `M${width / 2} ${y}V${y + arrow}m-4 -5l4 5l4 -5` });
      y += arrow + 4;
    }
    stage.forEach((one, place) => {
      const row = Math.floor(place / abreast);
      const inRow = Math.min(abreast, stage.length - row * abreast);
      const left = (width - inRow * each - (inRow - 1) * GAP.beside) / 2;
      const x = left + (place % abreast) * (each + GAP.beside);
      boxes.push({ ...one, x, y: y + row * (size.height + GAP.beside), width: each, height: size.height });
    });
    y += Math.ceil(stage.length / abreast) * (size.height + GAP.beside) - GAP.beside + 4;
  }
  return { width, height: y, boxes, edges };
}

// The graph in words, for who cannot see it.
export function inWords(mixture: Mixture): string[] {
  const called = (one: Asked) => `${one.of === "mixture" ? "mixture " : ""}${one.name}${one.times > 1 ? ` ${one.times} times` : ""}`;
  return stages(mixture)
    .slice(1, -1)
    .map((stage, number, all) =>
      number === all.length - 1 ? `aggregator: ${called(stage[0]!)}` : `layer ${number + 1}: ${stage.map(called).join(", ")}`,
    );
}
