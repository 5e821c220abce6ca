// The waterfall shows when a call was queued, waited for its first token, and wrote.
import { describe, expect, it } from "vitest";
import type { Event } from "../src/lib/api/events";
import { describeBars, lines } from "../src/lib/trace/bars";
import { fold } from "../src/lib/trace/trace";
import { marks } from "../src/lib/ui/scale";

const events: Event[] = [
  { type: "span_start", run: "r", span: "0", time: 0, role: "root", model: "moa:panel", answer: true },
  { type: "span_start", run: "r", span: "1", time: 0, role: "layer", model: "layer 1", answer: false, parent: "0", layer: 1 },
  { type: "span_start", run: "r", span: "2", time: 0, role: "proposer", model: "a", answer: false, parent: "1", layer: 1, index: 0 },
  { type: "span_start", run: "r", span: "3", time: 0, role: "proposer", model: "b", answer: false, parent: "1", layer: 1, index: 1 },
  { type: "note", span: "2", time: 0, kind: "queued", data: {} },
  { type: "note", span: "2", time: 1, kind: "dequeued", data: { seconds: 1 } },
  { type: "note", span: "3", time: 2, kind: "retry", data: { attempt: 1, wait: 0, error: "b: busy" } },
  { type: "delta", span: "2", time: 3, text: "red", kind: "text", answer: false },
  { type: "span_end", span: "2", time: 5, text: "red" },
  { type: "span_end", span: "3", time: 6, error: "b: on fire" },
];

describe("the lines of a waterfall", () => {
  const [root, layer, a, b] = lines(fold(events), "running", 8);

  it("have bars for the queue, the time to the first token and writing", () => {
    expect(a!.bars).toEqual([
      { phase: "queued", from: 0, until: 1 },
      { phase: "thinking", from: 1, until: 3 },
      { phase: "writing", from: 3, until: 5 },
    ]);
    expect(describeBars(a!)).toBe("starts at 0.0 s: queued 1.0 s, to first token 2.0 s, writing 2.0 s");
  });

  it("have retries and the reason of a failure", () => {
    expect([b!.state, b!.retries, b!.failure, b!.bars]).toEqual(["failed", [2], "on fire", [{ phase: "thinking", from: 0, until: 6 }]]);
  });

  it("extend to the current time while a call is running, and give the reason of a failure once", () => {
    expect([root!.seconds, layer!.depth, layer!.failure]).toEqual([8, 1, undefined]);
  });
});

it.each([
  [0, [0]],
  [31.6, [0, 10, 20, 30]],
  [4, [0, 1, 2, 3, 4]],
  [0.5, [0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5]],
])("a scale of %d seconds has round marks", (seconds, expected) => {
  expect(marks(seconds, 5)).toEqual(expected);
});
