// Runs that are files are told alike by this fold and by Python's (tests/test_golden.py).
import { describe, expect, it } from "vitest";
import type { Event } from "../src/lib/api/events";
import { folded } from "../src/lib/trace/trace";
import { stands } from "./state";

const streams = import.meta.glob<string>("../../tests/golden/*.jsonl", { query: "?raw", import: "default", eager: true });
const tellings = import.meta.glob<string>("../../tests/golden/*.json", { query: "?raw", import: "default", eager: true });

describe.each(Object.keys(streams))("%s", (name) => {
  const events = streams[name]!.trimEnd().split("\n").map((line) => JSON.parse(line) as Event);
  const moments = JSON.parse(tellings[name.replace(".jsonl", ".json")]!) as { after: number }[];

  it.each(moments)("is told as Python tells it after $after events", ({ after, ...told }) => {
    expect(stands(folded(events.slice(0, after)))).toEqual(told);
  });
});
