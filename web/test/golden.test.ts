// The fold in TypeScript gives the same state as the one in Python after any number of events. Python's side of this test is
// tests/trace/test_golden.py.
import { describe, expect, it } from "vitest";
import type { Event } from "../src/lib/api/events";
import { fold } from "../src/lib/trace/trace";
import { stateOf } from "./state";

const streams = import.meta.glob<string>("../../tests/golden/*.jsonl", { query: "?raw", import: "default", eager: true });
const states = import.meta.glob<string>("../../tests/golden/*.json", { query: "?raw", import: "default", eager: true });

describe.each(Object.keys(streams))("%s", (name) => {
  const events = streams[name]!.trimEnd().split("\n").map((line) => JSON.parse(line) as Event);
  const moments = JSON.parse(states[name.replace(".jsonl", ".json")]!) as { after: number }[];

  it.each(moments)("has the state of Python's fold after $after events", ({ after, ...state }) => {
    expect(stateOf(fold(events.slice(0, after)))).toEqual(state);
  });
});
