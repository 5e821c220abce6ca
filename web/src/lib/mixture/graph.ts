// The layout of a mixture as a graph: its boxes and the edges between them, from left to right if there is room, otherwise
// from top to bottom.
import type { Mixture } from "../api/schema";

export interface Box {
  kind: "end" | "member" | "mixture" | "aggregator";
  name: string;
  // The small text above the name: the provider.
  caption: string;
  samples: number;
  // The name of a nested mixture, for a link.
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

type Item = Omit<Box, "x" | "y" | "width" | "height">;

// The stages that a question passes through.
export function stages(mixture: Mixture): Item[][] {
  const { aggregator } = mixture;
  const last: Item = aggregator.model
    ? { ...member(aggregator.model, 1), kind: aggregator.model.startsWith("moa:") ? "mixture" : "aggregator" }
    : { kind: "aggregator", name: "vote", caption: "the most frequent answer", samples: 1 };
  const end = (name: string): Item[] => [{ kind: "end", name, caption: "", samples: 1 }];
  return [end("question"), ...mixture.layers.map((layer) => layer.map((one) => member(one.model, one.samples))), [last], end("answer")];
}

function member(model: string, samples: number): Item {
  const colon = model.indexOf(":");
  const provider = model.slice(0, colon);
  const name = model.slice(colon + 1);
  if (provider === "moa") return { kind: "mixture", name, caption: "mixture", samples, mixture: name };
  const slash = name.lastIndexOf("/");
  return { kind: "member", name: name.slice(slash + 1), caption: provider, samples };
}

const BOX = { width: 172, height: 44 };
const END = { width: 78, height: 32 };
const GAP = { along: 52, beside: 10 };

// `available` is the available width in pixels.
export function graph(mixture: Mixture, available: number): Graph {
  const columns = stages(mixture);
  const width = columns.length * GAP.along - GAP.along + 2 * END.width + (columns.length - 2) * BOX.width;
  return width <= available ? horizontal(columns) : vertical(columns, Math.min(Math.max(available, 280), 480));
}

function horizontal(columns: readonly Item[][]): Graph {
  const height = Math.max(...columns.map(columnHeight));
  const positioned: Box[][] = [];
  let x = 0;
  for (const stage of columns) {
    const size = stage[0]!.kind === "end" ? END : BOX;
    let y = (height - columnHeight(stage)) / 2;
    positioned.push(
      stage.map((one) => {
        const box = { ...one, ...size, x, y };
        y += size.height + GAP.beside;
        return box;
      }),
    );
    x += size.width + GAP.along;
  }
  const edges = positioned.slice(1).flatMap((stage, before) => positioned[before]!.flatMap((from) => stage.map((to) => curve(from, to))));
  return { width: x - GAP.along, height, boxes: positioned.flat(), edges };
}

function columnHeight(stage: readonly Item[]): number {
  const size = stage[0]!.kind === "end" ? END : BOX;
  return stage.length * (size.height + GAP.beside) - GAP.beside;
}

function curve(from: Box, to: Box): Edge {
  const [x, y] = [from.x + from.width, from.y + from.height / 2];
  const [end, beside] = [to.x, to.y + to.height / 2];
  const bend = (end - x) / 2;
  return { path: `M${x} ${y}C${x + bend} ${y} ${end - bend} ${beside} ${end} ${beside}` };
}

// Two boxes per row, and one arrow between stages.
function vertical(rows: readonly Item[][], width: number): Graph {
  const boxes: Box[] = [];
  const edges: Edge[] = [];
  const arrow = 28;
  let y = 0;
  for (const [number, stage] of rows.entries()) {
    const size = stage[0]!.kind === "end" ? END : BOX;
    const perRow = Math.min(2, stage.length);
    const each = size === END ? END.width : (width - GAP.beside) / 2;
    if (number) {
      edges.push({ path: `M${width / 2} ${y}V${y + arrow}m-4 -5l4 5l4 -5` });
      y += arrow + 4;
    }
    stage.forEach((one, index) => {
      const row = Math.floor(index / perRow);
      const inRow = Math.min(perRow, stage.length - row * perRow);
      const left = (width - inRow * each - (inRow - 1) * GAP.beside) / 2;
      const x = left + (index % perRow) * (each + GAP.beside);
      boxes.push({ ...one, x, y: y + row * (size.height + GAP.beside), width: each, height: size.height });
    });
    y += Math.ceil(stage.length / perRow) * (size.height + GAP.beside) - GAP.beside + 4;
  }
  return { width, height: y, boxes, edges };
}

// The graph as text, for screen readers.
export function describeStages(mixture: Mixture): string[] {
  const describe = ({ caption, name, samples }: Item) =>
    `${caption === "mixture" ? "mixture " : ""}${name}${samples > 1 ? ` ${samples} times` : ""}`;
  return stages(mixture)
    .slice(1, -1)
    .map((stage, number, all) =>
      number === all.length - 1 ? `aggregator: ${describe(stage[0]!)}` : `layer ${number + 1}: ${stage.map(describe).join(", ")}`,
    );
}
