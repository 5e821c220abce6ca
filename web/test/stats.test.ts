// Statistics per day, as plots show them.
import { expect, it } from "vitest";
import type { Figures } from "../src/lib/api/schema";
import { allDays, plot } from "../src/lib/ui/plot";
import { byCalls, cost, daily, failureRate, select } from "../src/lib/stats/stats";

function of(mixture: string, day: string, calls: number, lost: number, dollars: number | null): Figures {
  const none = { cached: 0, retries: 0, input_tokens: 0, output_tokens: 0, first_word: null, share: null, traced: 0 };
  return { mixture, role: "root", model: mixture, day, calls, lost, cost: dollars, seconds: null, ...none };
}

const rows = [of("a", "2026-11-28", 1, 1, 2), of("b", "2026-11-28", 9, 0, 1), of("b", "2026-12-01", 1, 0, null)];

it("includes all days from the first to the last", () => {
  expect(allDays(["2026-12-01", "2026-11-28"])).toEqual(["2026-11-28", "2026-11-29", "2026-11-30", "2026-12-01"]);
  expect(allDays([])).toEqual([]);
});

it("has no values for a day without runs", () => {
  const names = byCalls(rows, (one) => one.mixture);
  const { days, series } = daily(rows, names, (one) => one.mixture, cost);
  expect(days.length).toBe(4);
  expect(series).toEqual([
    { name: "b", colour: 0, values: [1, null, null, null] },
    { name: "a", colour: 1, values: [2, null, null, null] },
  ]);
});

it("selects the rows of one mixture, or of all", () => {
  const call: Figures = { ...rows[0]!, role: "proposer" };
  expect(select([...rows, call], "a")).toEqual({ runs: [rows[0]], calls: [call] });
  expect(select([...rows, call], "").runs).toEqual(rows);
});

it("has no sum if a part is unknown, and no failure rate without calls", () => {
  expect([cost(rows), cost(rows.slice(0, 2)), failureRate(rows), failureRate([])]).toEqual([null, 3, 100 / 11, null]);
});

it("breaks lines at unknown values, and stacks bars", () => {
  const series = [
    { name: "a", colour: 0, values: [1, null, 3, 4] },
    { name: "b", colour: 1, values: [1, 1, 0, null] },
  ];
  const layout = plot(series, 4, 400, 200, true);
  expect(layout.lines[0]!.map((segment) => segment.length)).toEqual([1, 2]);
  const [below, above] = [layout.bars[0]![0]!, layout.bars[1]![0]!];
  expect(above.y + above.height).toBeCloseTo(below.y);
  expect(layout.bars[1]![2]).toBeNull();
  expect(layout.scale[0]).toEqual({ value: 0, y: layout.bottom });
  expect(layout.scale.at(-1)!.y).toBeGreaterThanOrEqual(layout.top);
});
