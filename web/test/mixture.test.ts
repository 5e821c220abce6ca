// Editing a mixture keeps settings that the form does not know, and writes the shortest table.
import { expect, it } from "vitest";
import type { Mixture } from "../src/lib/api/schema";
import { describeStages, graph } from "../src/lib/mixture/graph";
import { aggregator, layers, withAggregator, withLayers, withSetting } from "../src/lib/mixture/table";

const table = {
  layers: 3,
  proposers: ["up:a", { model: "up:b", samples: 2, extra: { top_k: 4 } }],
  aggregator: "up:judge",
  agree: 0.8,
};

it("has the same proposers in each layer if the table names them once", () => {
  const members = [{ model: "up:a" }, { model: "up:b", samples: 2, extra: { top_k: 4 } }];
  expect(layers(table)).toEqual([members, members]);
  expect(withLayers(table, layers(table), false)).toEqual(table);
});

it("can have separate proposers for each layer", () => {
  const { proposers, layers: _, ...rest } = table;
  expect(withLayers(table, layers(table), true)).toEqual({ ...rest, layers: [proposers, proposers] });
  expect(layers({ layers: [["up:a"], [{ model: "up:b" }]] })).toEqual([[{ model: "up:a" }], [{ model: "up:b" }]]);
});

it("omits empty values and defaults", () => {
  expect(withLayers({}, [[{ model: "up:a", samples: 1, system: "" }]], false)).toEqual({ proposers: ["up:a"] });
  expect(withSetting({ quorum: 2 }, "quorum", undefined)).toEqual({});
});

it("has an aggregator with or without settings", () => {
  expect(aggregator(table)).toEqual({ model: "up:judge" });
  expect(withAggregator(table, { model: "up:judge", kind: "synthesize" })).toEqual(table);
  expect(withAggregator(table, { model: "up:judge", kind: "vote" }).aggregator).toEqual({ kind: "vote" });
  expect(withAggregator(table, { model: "up:judge", kind: "pick" }).aggregator).toEqual({ kind: "pick", model: "up:judge" });
});

const member = (model: string, samples = 1) => ({ model, samples, calls: samples, settings: {} });
const mixture: Mixture = {
  name: "panel",
  description: "",
  layers: [[member("lab:org/a"), member("moa:duo", 3)], [member("lab:b")]],
  aggregator: { kind: "synthesize", model: "lab:judge", fallback: [], calls: 1, settings: {} },
  settings: {},
  calls: 6,
  cost: null,
  unknown: [],
  assumed: "",
  table: {},
  toml: "",
};

it("has a description for screen readers", () => {
  expect(describeStages(mixture)).toEqual(["layer 1: a, mixture duo 3 times", "layer 2: b", "aggregator: judge"]);
});

it.each([2000, 300])("fits into %d pixels without overlapping boxes", (available) => {
  const { boxes, edges, width } = graph(mixture, available);
  expect(width).toBeLessThanOrEqual(available);
  expect(boxes.map((box) => box.name)).toEqual(["question", "a", "duo", "b", "judge", "answer"]);
  expect(edges.length).toBe(available > 1000 ? 2 + 2 + 1 + 1 : 4);
  for (const one of boxes) {
    for (const other of boxes) {
      const beside = one.x + one.width <= other.x || other.x + other.width <= one.x;
      const below = one.y + one.height <= other.y || other.y + other.height <= one.y;
      expect(one === other || beside || below).toBe(true);
    }
  }
});
