// Figures in words: short, and of one width while they change.
import type { Usage } from "../api/events";

export function seconds(value: number): string {
  if (value < 60) return `${Math.max(0, value).toFixed(1)} s`;
  const whole = Math.round(value);
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
}

// US dollars with two figures that count; what is not known is said to be so.
export function dollars(cost: number | null | undefined): string {
  if (cost === undefined || cost === null) return "cost unknown";
  if (cost === 0) return "$0";
  if (cost >= 1) return `$${cost.toFixed(2)}`;
  return `$${cost.toFixed(1 - Math.floor(Math.log10(cost)))}`;
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

export function several(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

// The tokens a call has written: counted, or estimated from its words as the server does, a quarter of their bytes.
export function written(usage: Usage | undefined, text: string): string {
  if (usage?.output_tokens) return `${usage.estimated ? "~" : ""}${count(usage.output_tokens)} tok`;
  return text && !usage ? `~${count(Math.ceil(text.length / 4))} tok` : "";
}

export function when(moment: number): string {
  return new Date(moment * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}

export function ago(then: number, now = Date.now() / 1000): string {
  const minutes = Math.floor((now - then) / 60);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`;
  return new Date(then * 1000).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}
