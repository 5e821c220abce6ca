// Statistics from the server, prepared for plots and tables.
import type { Figures } from "../api/schema";
import { allDays, type Series } from "../ui/plot";

// Rows by the kind of what they count: whole runs, or the calls of their models.
export interface Selection {
  runs: Figures[];
  calls: Figures[];
}

// The rows of one mixture, or of all mixtures if `mixture` is empty.
export function select(rows: readonly Figures[], mixture: string): Selection {
  const selected = rows.filter((row) => !mixture || row.mixture === mixture);
  return { runs: selected.filter((row) => row.role === "root"), calls: selected.filter((row) => row.role !== "root") };
}

export function proposals(rows: readonly Figures[]): Figures[] {
  return rows.filter((row) => row.role === "proposer");
}

export interface Daily {
  days: string[];
  series: Series[];
}

// A series for each of the `names` that occurs, in their order. `value` computes the value of a day from its rows.
export function daily(
  rows: readonly Figures[],
  names: readonly string[],
  nameOf: (row: Figures) => string,
  value: (rows: readonly Figures[]) => number | null,
): Daily {
  const days = allDays([...new Set(rows.map((row) => row.day!))]);
  const byName = groupBy(rows, nameOf);
  const series = names.flatMap((name, colour) => {
    const own = byName.get(name);
    if (!own) return [];
    const byDay = groupBy(own, (row) => row.day!);
    return [{ name, colour, values: days.map((day) => (byDay.has(day) ? value(byDay.get(day)!) : null)) }];
  });
  return { days, series };
}

// The names that occur, those with the most calls first.
export function byCalls(rows: readonly Figures[], nameOf: (row: Figures) => string): string[] {
  const calls = [...groupBy(rows, nameOf)].map(([name, own]) => ({ name, calls: sum(own, "calls") }));
  return calls.sort((one, other) => other.calls - one.calls).map(({ name }) => name);
}

function groupBy(rows: readonly Figures[], nameOf: (row: Figures) => string): Map<string, Figures[]> {
  const result = new Map<string, Figures[]>();
  for (const row of rows) {
    const name = nameOf(row);
    const group = result.get(name);
    if (group) group.push(row);
    else result.set(name, [row]);
  }
  return result;
}

export function sum(rows: readonly Figures[], key: "calls" | "lost"): number {
  return rows.reduce((total, row) => total + row[key], 0);
}

// The cost of all rows in dollars; null if any is unknown.
export function cost(rows: readonly Figures[]): number | null {
  return rows.reduce<number | null>((total, row) => (total === null || row.cost === null ? null : total + row.cost), 0);
}

// The share of calls that failed, in percent; null if there were no calls.
export function failureRate(rows: readonly Figures[]): number | null {
  const calls = sum(rows, "calls");
  return calls ? (100 * sum(rows, "lost")) / calls : null;
}
