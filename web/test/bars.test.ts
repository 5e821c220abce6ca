// The waterfall says when a call waited, thought and wrote.
import { describe, expect, it } from "vitest";
import type { Event } from "../src/lib/api/events";
import { inWords, lines, marks } from "../src/lib/trace/bars";
import { folded } from "../src/lib/trace/trace";

const events: Event[] = [
  { type: "span_start", run: "r", span: "0", time: 0, role: "root", model: "moa:panel", answer: true },
  { type: "span_start", run: "r", span: "1", time: 0, role: "layer", model: "layer 1", parent: "0", layer: 1 },
  { type: "span_start", run: "r", span: "2", time: 0, role: "proposer", model: "a", parent: "1", layer: 1, index: 0 },
  { type: "span_start", run: "r", span: "3", time: 0, role: "proposer", model: "b", parent: "1", layer: 1, index: 1 },
  { type: "note", span: "2", time: 0, kind: "queued", data: {} },
  { type: "note", span: "2", time: 1, kind: "queued", data: { seconds: 1 } },
  { type: "note", span: "3", time: 2, kind: "retry", data: { error: "b: busy" } },
  { type: "delta", span: "2", time: 3, text: "red" },
  { type: "span_end", span: "2", time: 5, text: "red" },
  { type: "span_end", span: "3", time: 6, error: "b: on fire" },
];

describe("the lines of a waterfall", () => {
  const [root, layer, a, b] = lines(folded(events), "running", 8);

  it("tell a call's turn, first word and end", () => {
    expect(a!.bars).toEqual([
      { phase: "queued", from: 0, until: 1 },
      { phase: "thinking", from: 1, until: 3 },
      { phase: "writing", from: 3, until: 5 },
    ]);
    expect(inWords(a!)).toBe("begins at 0.0 s: waits its turn 1.0 s, until its first word 2.0 s, writes 2.0 s");
  });

  it("tell what was tried again and why it was lost", () => {
    expect([b!.doing, b!.retries, b!.why, b!.bars]).toEqual(["lost", [2], "on fire", [{ phase: "thinking", from: 0, until: 6 }]]);
  });

  it("go on to now for what has not ended, and give no reason twice", () => {
    expect([root!.seconds, layer!.depth, layer!.why]).toEqual([8, 1, undefined]);
  });
});

it.each([
  [0, [0]],
  [31.6, [0, 10, 20, 30]],
  [4, [0, 1, 2, 3, 4]],
  [0.5, [0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5]],
])("a scale of %d seconds has round marks", (seconds, told) => {
  expect(marks(seconds, 5)).toEqual(told);
});
