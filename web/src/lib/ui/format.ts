// Formats numbers for display.
import type { Usage } from "../api/events";

export function seconds(value: number): string {
  if (value < 60) return `${Math.max(0, value).toFixed(1)} s`;
  const whole = Math.round(value);
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
}

// US dollars with two significant digits.
export function dollars(cost: number | null | undefined): string {
  if (cost === undefined || cost === null) return "cost unknown";
  if (cost === 0) return "$0";
  if (cost >= 1) return `$${cost.toFixed(2)}`;
  return `$${cost.toFixed(1 - Math.floor(Math.log10(cost)))}`;
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

// A percentage from 0 to 100.
export function percent(value: number): string {
  return `${value < 10 ? Number(value.toPrecision(2)) : value.toFixed(0)} %`;
}

export function plural(value: number, noun: string): string {
  return `${count(value)} ${value === 1 ? noun : `${noun}s`}`;
}

// The output tokens of a call: as reported, or while it is running estimated as the server does, a quarter of the bytes.
export function outputTokens(usage: Usage | undefined, text: string): string {
  if (usage?.output_tokens) return `${usage.estimated ? "~" : ""}${count(usage.output_tokens)} tok`;
  return text && !usage ? `~${count(Math.ceil(text.length / 4))} tok` : "";
}

// Settings by name, in one line.
export function settings(values: Readonly<Record<string, unknown>>, separator = ", "): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(separator);
}

// Unix time as date and time.
export function dateTime(time: number): string {
  return new Date(time * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}

export function ago(time: number, now = Date.now() / 1000): string {
  const minutes = Math.floor((now - time) / 60);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`;
  return new Date(time * 1000).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}
