// Figures over days as lines or bars: where they stand in a picture of so many pixels.
import { marks } from "../trace/bars";

export interface Series {
  name: string;
  // Which colour it has, from 0: the same in all plots of a view.
  colour: number;
  // One for each day, null where nothing is known of it.
  values: (number | null)[];
}

export interface Place {
  x: number;
  y: number;
}

export interface Plot {
  // Where the values are drawn.
  left: number;
  right: number;
  top: number;
  bottom: number;
  // What stands beside the picture, and at which height.
  scale: { value: number; y: number }[];
  // Where each day stands.
  days: number[];
  // For each series, the parts of it between days of which nothing is known.
  lines: Place[][][];
  // For each series and day, the part of a stack that is its own; none where there is nothing.
  bars: ({ x: number; y: number; width: number; height: number } | null)[][];
}

const ROOM = { left: 52, right: 12, top: 10, bottom: 24 };

// The days from the first to the last, none left out. A day is a date such as 2026-11-25.
export function every(days: readonly string[]): string[] {
  const known = [...days].sort();
  if (!known.length) return [];
  const told: string[] = [];
  const last = new Date(`${known.at(-1)}T00:00:00Z`);
  for (const day = new Date(`${known[0]}T00:00:00Z`); day <= last; day.setUTCDate(day.getUTCDate() + 1)) {
    told.push(day.toISOString().slice(0, 10));
  }
  return told;
}

export function plot(series: readonly Series[], days: number, width: number, height: number, stacked: boolean): Plot {
  const sums = Array.from({ length: days }, (_, day) => series.reduce((sum, one) => sum + (one.values[day] ?? 0), 0));
  const most = stacked ? Math.max(0, ...sums) : Math.max(0, ...series.flatMap((one) => one.values.map((value) => value ?? 0)));
  const steps = marks(most || 1, 4);
  const step = steps[1] ?? 1;
  const top = Math.max(steps.at(-1)! < most ? steps.at(-1)! + step : steps.at(-1)!, step);
  const right = width - ROOM.right;
  const bottom = height - ROOM.bottom;
  const each = (right - ROOM.left) / Math.max(1, days);
  const x = (day: number) => ROOM.left + each * (day + 0.5);
  const y = (value: number) => bottom - ((bottom - ROOM.top) * value) / top;
  const thick = Math.min(28, Math.max(2, each * 0.7));
  const below = Array<number>(days).fill(0);
  return {
    left: ROOM.left,
    right,
    top: ROOM.top,
    bottom,
    scale: marks(top, 4).map((value) => ({ value, y: y(value) })),
    days: Array.from({ length: days }, (_, day) => x(day)),
    lines: series.map((one) => parts(one.values).map((part) => part.map(([day, value]) => ({ x: x(day), y: y(value) })))),
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

function parts(values: readonly (number | null)[]): [number, number][][] {
  const told: [number, number][][] = [];
  values.forEach((value, day) => {
    if (value === null) return;
    if (day && values[day - 1] !== null && values[day - 1] !== undefined) told.at(-1)!.push([day, value]);
    else told.push([[day, value]]);
  });
  return told;
}
