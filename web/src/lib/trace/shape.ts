// How a run is presented: its stages one after another, and which call's text stands for a node.
import type { Node } from "./trace";

// A part of a mixture: a layer of proposers, or the calls before, between and after the layers.
export type Stage = { kind: "layer"; node: Node } | { kind: "calls"; nodes: Node[] };

export function stages(mixture: Node): Stage[] {
  const result: Stage[] = [];
  for (const child of mixture.children.flatMap(flatten)) {
    const last = result.at(-1);
    if (child.start.role === "layer") result.push({ kind: "layer", node: child });
    else if (last?.kind === "calls") last.nodes.push(child);
    else result.push({ kind: "calls", nodes: [child] });
  }
  return result;
}

export function isMixture(node: Node): boolean {
  return node.children.some((child) => child.start.role === "layer");
}

// The call whose text stands for a node: the node itself, or the call inside it that gives the answer (of a mixture, or
// of a call that was sent twice). Undefined for a mixture whose proposers are still writing.
export function voice(node: Node): Node | undefined {
  const candidates = node.children.flatMap(flatten).filter((child) => !SILENT.has(child.start.role));
  if (candidates.length === 0) return node.children.length === 0 ? node : undefined;
  const last = candidates.findLast((child) => child.end?.text) ?? candidates.findLast((child) => voice(child)?.text);
  return voice(last ?? candidates[0]!);
}

const SILENT = new Set(["layer", "judge", "prewarm"]);

// The text of a node so far; its reasoning while there is no other text.
export interface NodeText {
  text: string;
  thinking: boolean;
  // Changes when the text is no longer the previous text with more appended.
  line: string;
}

export function textOf(node: Node): NodeText {
  const source = node.text ? node : (voice(node) ?? node);
  const thinking = !source.text && source.reasoning !== "";
  const line = `${source.start.span}/${source.voided}/${thinking}`;
  return { text: thinking ? source.reasoning : source.text, thinking, line };
}

// Replaces sections by the nodes inside them.
function flatten(child: Node): Node[] {
  return child.start.role === "section" ? child.children.flatMap(flatten) : [child];
}

// The question of a run: the last user message.
export function question(root: Node): string {
  const last = root.start.request?.messages.findLast((message) => message.role === "user");
  if (last === undefined) return "";
  if (typeof last.content === "string") return last.content;
  return last.content.map((part) => (typeof part.text === "string" ? part.text : "")).join("");
}

// The proposers of a mixture, in order, layer by layer.
export function proposers(root: Node): string[] {
  const layers = stages(root).flatMap((stage) => (stage.kind === "layer" ? [stage.node] : []));
  return layers.flatMap((layer) => layer.children.map((proposal) => proposal.start.model));
}

// The display name of a call: its model, and a number if its layer asks the same model several times.
export function label(node: Node): string {
  const { model } = node.start;
  const same = node.parent?.children.filter((sibling) => sibling.start.model === model) ?? [];
  return same.length > 1 ? `${model} · ${same.indexOf(node) + 1}` : model;
}
