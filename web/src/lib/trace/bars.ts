// The waterfall of a run: one line per call, with bars for the time in the queue, before the first token and writing.
import type { State } from "../api/watch";
import { badges, type Badge } from "./notes";
import { callState, failure, type CallState } from "./summary";
import { isNote, type Node, type Trace } from "./trace";

// A call is queued, then silent until its first token, then writes. A node that only contains calls is one "span".
export type Phase = "queued" | "thinking" | "writing" | "span";

export interface Bar {
  phase: Phase;
  from: number;
  until: number;
}

export interface Line {
  node: Node;
  depth: number;
  state: CallState;
  badges: Badge[];
  failure: string | undefined;
  bars: Bar[];
  // The times of the retries.
  retries: number[];
  seconds: number;
}

// `now` is the current time of the run, for calls that have not ended.
export function lines(trace: Trace, state: State, now: number): Line[] {
  return trace.root ? [...linesOf(trace.root, 0, state, now)] : [];
}

function* linesOf(node: Node, depth: number, state: State, now: number): Generator<Line> {
  const end = node.end?.time ?? now;
  yield {
    node,
    depth,
    state: callState(node, state),
    badges: badges(node),
    // only at the call that failed, not again at everything around it
    failure: node.children.some((child) => child.error !== undefined) ? undefined : failure(node, state),
    bars: bars(node, end),
    retries: node.notes.filter((note) => isNote(note, "retry")).map((note) => note.time),
    seconds: end - node.start.time,
  };
  for (const child of node.children) yield* linesOf(child, depth + 1, state, now);
}

function bars(node: Node, end: number): Bar[] {
  const from = node.start.time;
  if (!node.isCall) return [{ phase: "span", from, until: end }];
  const dequeued = node.notes.find((note) => isNote(note, "dequeued"))?.time ?? from;
  const firstToken = Math.min(node.firstWord ?? end, end);
  const phases: Bar[] = [
    { phase: "queued", from, until: dequeued },
    { phase: "thinking", from: dequeued, until: firstToken },
    { phase: "writing", from: firstToken, until: end },
  ];
  return phases.filter((bar) => bar.until > bar.from);
}

export const PHASE_LABELS: Record<Phase, string> = {
  queued: "queued",
  thinking: "to first token",
  writing: "writing",
  span: "total",
};

// The bars of a line as text, for screen readers.
export function describeBars(line: Line): string {
  const parts = line.bars.map((bar) => `${PHASE_LABELS[bar.phase]} ${(bar.until - bar.from).toFixed(1)} s`);
  if (line.retries.length) {
    parts.push(`retried after ${line.retries.map((at) => (at - line.node.start.time).toFixed(1)).join(" and ")} s`);
  }
  return `starts at ${line.node.start.time.toFixed(1)} s: ${parts.join(", ")}`;
}
