// What a view shows of a call, and of a run. The call states are those of the terminal (src/moa/cli/terminal/live.py).
import type { SpanEnd, Usage } from "../api/events";
import type { State } from "../api/watch";
import { dollars, seconds } from "../ui/format";
import { badges, type Badge } from "./notes";
import { isMixture, stages, textOf, voice, type NodeText } from "./shape";
import { isNote, type Node, type Trace } from "./trace";

export type CallState =
  | "queued"
  | "downloading"
  | "retrying"
  | "thinking"
  | "prewarming"
  | "writing"
  | "done"
  | "failed"
  | "stopped";

// `state` is that of the run: if it was stopped, its unfinished calls were stopped too.
export function callState(node: Node, state: State): CallState {
  if (node.end) return node.error === undefined ? "done" : isStopped(node, state) ? "stopped" : "failed";
  if (state !== "running") return "stopped";
  if (node.start.role === "prewarm") return "prewarming";
  if (node.text || voice(node)?.text) return "writing";
  const last = node.notes.at(-1);
  if (isNote(last, "retry") && node.firstWord === undefined) return "retrying";
  if (isNote(last, "queued")) return "queued";
  if (isNote(last, "downloading") && last.data.done < last.data.total) return "downloading";
  return "thinking";
}

// Whether a call ended only because the whole run was stopped.
function isStopped(node: Node, state: State): boolean {
  return state === "stopped" && node.error === "cancelled";
}

// Why a call failed, if it did.
export function failure(node: Node, state: State): string | undefined {
  return isStopped(node, state) ? undefined : node.error?.replace(`${node.start.model}:`, "").trim();
}

export interface CallSummary {
  state: CallState;
  text: NodeText;
  badges: Badge[];
  end: SpanEnd | undefined;
  failure: string | undefined;
  // The calls inside a mixture.
  inner: { node: Node; state: CallState }[];
}

// Everything that a view of one call shows. It depends on `treeVersion(node)` and `state` alone, so a view that derives
// it from those computes it only when something has changed.
export function summarize(node: Node, state: State, _version: number): CallSummary {
  const inner = isMixture(node)
    ? stages(node).flatMap((stage) => (stage.kind === "layer" ? stage.node.children : stage.nodes))
    : [];
  return {
    state: callState(node, state),
    text: textOf(node),
    badges: badges(node),
    end: node.end,
    failure: failure(node, state),
    inner: inner.map((call) => ({ node: call, state: callState(call, state) })),
  };
}

// Increases with each event of a node or of anything below it.
export function treeVersion(node: Node): number {
  return node.children.reduce((sum, child) => sum + treeVersion(child), node.version);
}

export interface Totals {
  calls: number;
  input: number;
  output: number;
  // Undefined if the cost of any call is unknown.
  cost: number | undefined;
  estimated: boolean;
}

// What a run has used so far.
export function totals(trace: Trace): Totals {
  const calls = trace.calls;
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

// The progress of a run in one sentence. It is announced to screen readers, so it changes seldom.
export function progress(trace: Trace, state: State): string {
  const root = trace.root;
  if (!root) return "";
  if (state === "stopped") return "The run was stopped.";
  if (root.end) return root.error === undefined ? "The answer is complete." : `The run failed: ${root.error}`;
  if (state !== "running") return "The run was interrupted.";
  if (trace.firstWord !== undefined) return "The answer is being written.";
  const layer = stages(root).findLast((stage) => stage.kind === "layer")?.node;
  if (!layer) return "The question was sent.";
  const ended = layer.children.filter((node) => node.end).length;
  return `Layer ${layer.start.layer}: ${ended} of ${layer.children.length} proposals.`;
}

// The estimate that was made before the run, if any.
export function estimate(root: Node): string | undefined {
  const data = root.notesOf("estimated")[0];
  if (!data) return undefined;
  const cost = data.cost !== null ? [dollars(data.cost)] : [];
  const time = data.seconds !== null ? [seconds(data.seconds)] : [];
  return [...cost, ...time].join(", ") || undefined;
}
