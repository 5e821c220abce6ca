// Figures day by day, as plots show them.
import { expect, it } from "vitest";
import type { Figures } from "../src/lib/api/schema";
import { every, plot } from "../src/lib/ui/plot";
import { busiest, cost, daily, losses } from "../src/lib/stats/stats";

function of(mixture: string, day: string, calls: number, lost: number, dollars: number | null): Figures {
  const none = { cached: 0, retries: 0, input_tokens: 0, output_tokens: 0, first_word: null, share: null, traced: 0 };
  return { mixture, role: "root", model: mixture, day, calls, lost, cost: dollars, seconds: null, ...none };
}

const figures = [of("a", "2026-11-28", 1, 1, 2), of("b", "2026-11-28", 9, 0, 1), of("b", "2026-12-01", 1, 0, null)];

it("leaves out no day between the first and the last", () => {
  expect(every(["2026-12-01", "2026-11-28"])).toEqual(["2026-11-28", "2026-11-29", "2026-11-30", "2026-12-01"]);
  expect(every([])).toEqual([]);
});

it("knows nothing of a day on which nothing was asked", () => {
  const names = busiest(figures, (one) => one.mixture);
  const { days, series } = daily(figures, names, (one) => one.mixture, cost);
  expect(days.length).toBe(4);
  expect(series).toEqual([
    { name: "b", colour: 0, values: [1, null, null, null] },
    { name: "a", colour: 1, values: [2, null, null, null] },
  ]);
});

it("does not know the sum where a part is unknown, nor losses of nothing", () => {
  expect([cost(figures), cost(figures.slice(0, 2)), losses(figures), losses([])]).toEqual([null, 3, 100 / 11, null]);
});

it("breaks a line where nothing is known, and stacks bars on each other", () => {
  const series = [
    { name: "a", colour: 0, values: [1, null, 3, 4] },
    { name: "b", colour: 1, values: [1, 1, 0, null] },
  ];
  const told = plot(series, 4, 400, 200, true);
  expect(told.lines[0]!.map((part) => part.length)).toEqual([1, 2]);
  const [below, above] = [told.bars[0]![0]!, told.bars[1]![0]!];
  expect(above.y + above.height).toBeCloseTo(below.y);
  expect(told.bars[1]![2]).toBeNull();
  expect(told.scale[0]).toEqual({ value: 0, y: told.bottom });
  expect(told.scale.at(-1)!.y).toBeGreaterThanOrEqual(told.top);
});
