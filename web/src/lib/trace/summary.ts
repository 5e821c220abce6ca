// What a view tells of a call, and of a run. The words for what a call is doing are those of the terminal
// (src/moa/terminal/live.py).
import type { State } from "../api/watch";
import type { SpanEnd, Usage } from "../api/events";
import { dollars, seconds } from "../ui/format";
import { remarks, type Remark } from "./notes";
import { isMixture, stages, voice, words, type Words } from "./shape";
import type { Node, Trace } from "./trace";

export type Doing =
  | "queued"
  | "fetching"
  | "retrying"
  | "thinking"
  | "reading"
  | "writing"
  | "done"
  | "lost"
  | "stopped";

// `state` is how the run stands: where it was stopped, what it then was doing was stopped too.
export function doing(node: Node, state: State): Doing {
  if (node.end) return node.error === undefined ? "done" : wasStopped(node, state) ? "stopped" : "lost";
  if (state !== "running") return "stopped";
  if (node.start.role === "reading") return "reading";
  if (node.text || voice(node)?.text) return "writing";
  const last = node.notes.at(-1);
  if (last?.kind === "retry" && node.firstWord === undefined) return "retrying";
  if (last?.kind === "queued" && last.data.seconds === undefined) return "queued";
  if (last?.kind === "fetching" && Number(last.data.done) < Number(last.data.total)) return "fetching";
  return "thinking";
}

// Whether a call ended only because the whole run did.
function wasStopped(node: Node, state: State): boolean {
  return state === "stopped" && node.error === "cancelled";
}

// Why a call failed, where it did and was not merely stopped.
export function reason(node: Node, state: State): string | undefined {
  return wasStopped(node, state) ? undefined : node.error?.replace(`${node.start.model}:`, "").trim();
}

// All that a view of one call tells. `version` is what `version` gave: while it is the same, so is all this.
export interface Told {
  doing: Doing;
  words: Words;
  remarks: Remark[];
  end: SpanEnd | undefined;
  reason: string | undefined;
  // Of a mixture, the calls inside it.
  inner: { node: Node; doing: Doing; remarks: Remark[] }[];
}

export function told(node: Node, state: State, _version: number): Told {
  const inner = isMixture(node)
    ? stages(node).flatMap((stage) => (stage.kind === "layer" ? stage.node.children : stage.nodes))
    : [];
  return {
    doing: doing(node, state),
    words: words(node),
    remarks: remarks(node),
    end: node.end,
    reason: reason(node, state),
    inner: inner.map((call) => ({ node: call, doing: doing(call, state), remarks: remarks(call) })),
  };
}

// Grows with whatever is heard of a node or of what is below it.
export function version(node: Node): number {
  return node.children.reduce((sum, child) => sum + version(child), node.version);
}

// What a run has used so far. The cost is undefined where a part of it is unknown.
export interface Spent {
  calls: number;
  input: number;
  output: number;
  cost: number | undefined;
  estimated: boolean;
}

export function spent(trace: Trace): Spent {
  const calls = trace.calls.filter((node) => node.start.role !== "reading");
  const usages = trace.root?.usage ? [trace.root.usage] : calls.flatMap((node) => node.usage ?? []);
  const sum = (value: (usage: Usage) => number) => usages.reduce((total, usage) => total + value(usage), 0);
  return {
    calls: calls.length,
    input: sum((usage) => usage.input_tokens),
    output: sum((usage) => usage.output_tokens),
    cost: usages.every((usage) => usage.cost !== undefined) ? sum((usage) => usage.cost!) : undefined,
    estimated: usages.some((usage) => usage.estimated),
  };
}

// How far a run is, in a sentence: what a screen reader is told, so it changes seldom.
export function progress(trace: Trace, state: State): string {
  const root = trace.root;
  if (!root) return "";
  if (state === "stopped") return "It was stopped.";
  if (root.end) return root.error === undefined ? "The answer is complete." : `It failed: ${root.error}`;
  if (state !== "running") return "It was cut off.";
  if (trace.firstWord !== undefined) return "The answer is being written.";
  const layer = stages(root).findLast((stage) => stage.kind === "layer")?.node;
  if (!layer) return "Asked.";
  const made = layer.children.filter((node) => node.end).length;
  return `Layer ${layer.start.layer}: ${made} of ${layer.children.length} proposals.`;
}

// What was reckoned beforehand that a run would take, where it was.
export function expected(root: Node): string | undefined {
  const quote = root.note("quoted")?.data;
  if (!quote) return undefined;
  const cost = typeof quote.cost === "number" ? [dollars(quote.cost)] : [];
  const time = typeof quote.seconds === "number" ? [seconds(quote.seconds)] : [];
  return [...cost, ...time].join(", ") || undefined;
}
