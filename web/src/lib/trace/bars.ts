// The waterfall of a run: every call as a line of it, with the times at which it waited, thought and wrote.
import type { State } from "../api/watch";
import { remarks, type Remark } from "./notes";
import { doing, reason, type Doing } from "./summary";
import type { Node, Trace } from "./trace";

// A part of a bar. A call waits its turn, then nothing is heard until its first word, then it writes; what only holds
// calls is a span.
export type Phase = "queued" | "thinking" | "writing" | "span";

export interface Bar {
  phase: Phase;
  from: number;
  until: number;
}

export interface Line {
  node: Node;
  depth: number;
  doing: Doing;
  remarks: Remark[];
  // Why it failed, where it did.
  why: string | undefined;
  bars: Bar[];
  // The moments at which it was begun again.
  retries: number[];
  seconds: number;
}

// `now` is the moment of the run that it is, for what has not ended.
export function lines(trace: Trace, state: State, now: number): Line[] {
  return trace.root ? [...walked(trace.root, 0, state, now)] : [];
}

function* walked(node: Node, depth: number, state: State, now: number): Generator<Line> {
  const end = node.end?.time ?? now;
  yield {
    node,
    depth,
    doing: doing(node, state),
    remarks: remarks(node),
    // said where it happened, not again by all that it is a part of
    why: node.children.some((child) => child.error !== undefined) ? undefined : reason(node, state),
    bars: bars(node, end),
    retries: node.notes.filter((note) => note.kind === "retry").map((note) => note.time),
    seconds: end - node.start.time,
  };
  for (const child of node.children) yield* walked(child, depth + 1, state, now);
}

function bars(node: Node, end: number): Bar[] {
  const from = node.start.time;
  if (!node.isCall) return [{ phase: "span", from, until: end }];
  const turn = node.notes.find((note) => note.kind === "queued" && note.data.seconds !== undefined)?.time ?? from;
  const word = Math.min(node.firstWord ?? end, end);
  const told: Bar[] = [
    { phase: "queued", from, until: turn },
    { phase: "thinking", from: turn, until: word },
    { phase: "writing", from: word, until: end },
  ];
  return told.filter((bar) => bar.until > bar.from);
}

// A bar in words, for who cannot see it.
export function inWords(line: Line): string {
  const told = line.bars.map((bar) => `${WORDS[bar.phase]} ${(bar.until - bar.from).toFixed(1)} s`);
  if (line.retries.length) told.push(`tried again after ${line.retries.map((at) => (at - line.node.start.time).toFixed(1)).join(" and ")} s`);
  return `begins at ${line.node.start.time.toFixed(1)} s: ${told.join(", ")}`;
}

const WORDS: Record<Phase, string> = {
  queued: "waits its turn",
  thinking: "until its first word",
  writing: "writes",
  span: "takes",
};

// Round moments for a scale from 0 to so many seconds, at most `most` of them besides 0.
export function marks(seconds: number, most = 6): number[] {
  if (seconds <= 0) return [0];
  const rough = seconds / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= rough)!;
  return Array.from({ length: Math.floor(seconds / step + 1e-9) + 1 }, (_, number) => number * step);
}
