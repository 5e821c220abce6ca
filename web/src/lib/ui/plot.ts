// The layout of a plot of daily values, as lines or stacked bars, in pixels.
import { marks } from "./scale";

export interface Series {
  name: string;
  // The number of its colour, from 0. It is the same in all plots of a view.
  colour: number;
  // One value per day; null if unknown.
  values: (number | null)[];
}

export interface Point {
  x: number;
  y: number;
}

export interface PlotLayout {
  // The area of the values.
  left: number;
  right: number;
  top: number;
  bottom: number;
  // The marks of the vertical axis.
  scale: { value: number; y: number }[];
  // The horizontal position of each day.
  days: number[];
  // For each series, its segments between days with unknown values.
  lines: Point[][][];
  // For each series and day, its bar in the stack; null if there is no value.
  bars: ({ x: number; y: number; width: number; height: number } | null)[][];
}

const MARGIN = { left: 52, right: 12, top: 10, bottom: 24 };

// All days from the first to the last. A day is an ISO date such as 2026-11-25.
export function allDays(days: readonly string[]): string[] {
  const sorted = [...days].sort();
  if (!sorted.length) return [];
  const result: string[] = [];
  const last = new Date(`${sorted.at(-1)}T00:00:00Z`);
  for (const day = new Date(`${sorted[0]}T00:00:00Z`); day <= last; day.setUTCDate(day.getUTCDate() + 1)) {
    result.push(day.toISOString().slice(0, 10));
  }
  return result;
}

export function plot(series: readonly Series[], days: number, width: number, height: number, stacked: boolean): PlotLayout {
  const sums = Array.from({ length: days }, (_, day) => series.reduce((sum, one) => sum + (one.values[day] ?? 0), 0));
  const most = stacked ? Math.max(0, ...sums) : Math.max(0, ...series.flatMap((one) => one.values.map((value) => value ?? 0)));
  const steps = marks(most || 1, 4);
  const step = steps[1] ?? 1;
  const top = Math.max(steps.at(-1)! < most ? steps.at(-1)! + step : steps.at(-1)!, step);
  const right = width - MARGIN.right;
  const bottom = height - MARGIN.bottom;
  const each = (right - MARGIN.left) / Math.max(1, days);
  const x = (day: number) => MARGIN.left + each * (day + 0.5);
  const y = (value: number) => bottom - ((bottom - MARGIN.top) * value) / top;
  const thick = Math.min(28, Math.max(2, each * 0.7));
  const below = Array<number>(days).fill(0);
  return {
    left: MARGIN.left,
    right,
    top: MARGIN.top,
    bottom,
    scale: marks(top, 4).map((value) => ({ value, y: y(value) })),
    days: Array.from({ length: days }, (_, day) => x(day)),
    lines: series.map((one) => segments(one.values).map((segment) => segment.map(([day, value]) => ({ x: x(day), y: y(value) })))),
    bars: series.map((one) =>
      one.values.map((value, day) => {
        if (!value) return null;
        const from = below[day]!;
        below[day] = from + value;
        return { x: x(day) - thick / 2, y: y(from + value), width: thick, height: y(from) - y(from + value) };
      }),
    ),
  };
}

function segments(values: readonly (number | null)[]): [number, number][][] {
  const result: [number, number][][] = [];
  values.forEach((value, day) => {
    if (value === null) return;
    if (day && values[day - 1] !== null && values[day - 1] !== undefined) result.at(-1)!.push([day, value]);
    else result.push([[day, value]]);
  });
  return result;
}
