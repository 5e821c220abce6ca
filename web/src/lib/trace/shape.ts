// The shape of a run as a person sees it: stages one after another, and whose words a call's are.
import type { Node } from "./trace";

// A part of a mixture: a layer of proposers, or the calls between and after the layers.
export type Stage = { kind: "layer"; node: Node } | { kind: "calls"; nodes: Node[] };

export function stages(mixture: Node): Stage[] {
  const told: Stage[] = [];
  for (const child of mixture.children.flatMap(plain)) {
    const last = told.at(-1);
    if (child.start.role === "layer") told.push({ kind: "layer", node: child });
    else if (last?.kind === "calls") last.nodes.push(child);
    else told.push({ kind: "calls", nodes: [child] });
  }
  return told;
}

export function isMixture(node: Node): boolean {
  return node.children.some((child) => child.start.role === "layer");
}

// The call whose words are those of a node: itself, or of a mixture, or a call that was made twice, the one that answers.
// Of a mixture whose proposers are still writing there is none.
export function voice(node: Node): Node | undefined {
  const speaking = node.children.flatMap(plain).filter((child) => !SILENT.has(child.start.role));
  if (speaking.length === 0) return node.children.length === 0 ? node : undefined;
  const last = speaking.findLast((child) => child.end?.text) ?? speaking.findLast((child) => voice(child)?.text);
  return voice(last ?? speaking[0]!);
}

const SILENT = new Set(["layer", "judge", "reading"]);

// The words of a node so far, its own thinking where it has said nothing else yet.
export interface Words {
  text: string;
  thinking: boolean;
  // Changes when the words are not those before with more behind them.
  line: string;
}

export function words(node: Node): Words {
  const speaker = node.text ? node : (voice(node) ?? node);
  const thinking = !speaker.text && speaker.reasoning !== "";
  const line = `${speaker.start.span}/${speaker.voided}/${thinking}`;
  return { text: thinking ? speaker.reasoning : speaker.text, thinking, line };
}

// Sections only hold calls; what is in them counts.
function plain(child: Node): Node[] {
  return child.start.role === "section" ? child.children.flatMap(plain) : [child];
}

// What a run was asked: the last words of the user.
export function asked(root: Node): string {
  const last = root.start.request?.messages.findLast((message) => message.role === "user");
  if (last === undefined) return "";
  if (typeof last.content === "string") return last.content;
  return last.content.map((part) => part.text ?? "").join("");
}

// The models that proposed to the mixture that was asked, in their order, layer by layer.
export function proposers(root: Node): string[] {
  const layers = stages(root).flatMap((stage) => (stage.kind === "layer" ? [stage.node] : []));
  return layers.flatMap((layer) => layer.children.map((proposal) => proposal.start.model));
}

// What a call is called: by its model, and by a number where its layer asks the same model several times.
export function label(node: Node): string {
  const { model } = node.start;
  const same = node.parent?.children.filter((one) => one.start.model === model) ?? [];
  return same.length > 1 ? `${model} · ${same.indexOf(node) + 1}` : model;
}
