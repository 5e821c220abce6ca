// What the server counted, as series for plots and as rows for tables.
import type { Figures } from "../api/schema";
import { every, type Series } from "../ui/plot";

export interface Daily {
  days: string[];
  series: Series[];
}

// A series for each of the `names` that is counted, in their order. `value` gives the figure of a day.
export function daily(
  figures: readonly Figures[],
  names: readonly string[],
  name: (one: Figures) => string,
  value: (these: readonly Figures[]) => number | null,
): Daily {
  const days = every([...new Set(figures.map((one) => one.day!))]);
  const all = grouped(figures, name);
  const series = names.flatMap((called, colour) => {
    const these = all.get(called);
    if (!these) return [];
    const told = grouped(these, (one) => one.day!);
    return [{ name: called, colour, values: days.map((day) => (told.has(day) ? value(told.get(day)!) : null)) }];
  });
  return { days, series };
}

// The names of what is counted, those that were asked most first.
export function busiest(figures: readonly Figures[], name: (one: Figures) => string): string[] {
  const calls = (these: readonly Figures[]) => these.reduce((sum, one) => sum + one.calls, 0);
  const told = [...grouped(figures, name)].sort(([, these], [, others]) => calls(others) - calls(these));
  return told.map(([called]) => called);
}

export function grouped(figures: readonly Figures[], name: (one: Figures) => string): Map<string, Figures[]> {
  const told = new Map<string, Figures[]>();
  for (const one of figures) told.set(name(one), [...(told.get(name(one)) ?? []), one]);
  return told;
}

// The dollars of all together, unknown where one of them is.
export function cost(these: readonly Figures[]): number | null {
  return these.reduce<number | null>((sum, one) => (sum === null || one.cost === null ? null : sum + one.cost), 0);
}

// The part that was lost, in percent; unknown where nothing was asked.
export function losses(these: readonly Figures[]): number | null {
  const calls = these.reduce((sum, one) => sum + one.calls, 0);
  return calls ? (100 * these.reduce((sum, one) => sum + one.lost, 0)) / calls : null;
}
