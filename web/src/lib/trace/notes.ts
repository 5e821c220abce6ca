// Badges for what was unusual about a call, such as a retry or a cached answer, from the notes in its events.
import type { Node } from "./trace";

export interface Badge {
  label: string;
  detail: string;
  tone: "plain" | "warn";
}

export function badges(node: Node): Badge[] {
  const result: Badge[] = [];
  const retries = node.notes.filter((note) => note.kind === "retry");
  if (retries.length) {
    const label = retries.length === 1 ? "retried" : `retried ${retries.length} times`;
    result.push({ label, detail: retries.map((note) => String(note.data.error)).join("\n"), tone: "warn" });
  }
  for (const note of node.notes) {
    const badge = BADGES[note.kind]?.(note.data);
    if (badge) result.push(badge);
  }
  if (node.end?.finish_reason === "length") {
    result.push({ label: "cut off", detail: "It reached its maximum number of tokens.", tone: "warn" });
  }
  return result;
}

type Data = Readonly<Record<string, unknown>>;

// By kind of note. Kinds that are missing here have no badge.
const BADGES: Record<string, (data: Data) => Badge | undefined> = {
  hedged: (data) => ({
    label: "hedged",
    detail: `No answer after ${data.after} s, so a second call was started.`,
    tone: "warn",
  }),
  cached: () => ({ label: "cached", detail: "The answer came from the cache: no call, no cost.", tone: "plain" }),
  recalled: (data) => ({
    label: "reused",
    detail: `The answer was reused from run ${runId(data.of)}: no call, no cost.`,
    tone: "plain",
  }),
  queued: (data) =>
    Number(data.seconds) >= 0.1
      ? { label: `queued ${Number(data.seconds).toFixed(1)} s`, detail: "It waited for a free slot.", tone: "plain" }
      : undefined,
  unsent: (data) => ({
    label: "options dropped",
    detail: `The provider does not support ${list(data.options)}.`,
    tone: "warn",
  }),
  window: (data) => ({
    label: "read in parts",
    detail: `Its context window holds ${data.holds} of ${data.of} proposals at a time.`,
    tone: "plain",
  }),
  left_out: (data) => ({ label: "proposal dropped", detail: `${data.model}: ${data.reason}`, tone: "warn" }),
  fallback: (data) => ({ label: "fallback", detail: [data.model, data.error].filter(Boolean).join(": "), tone: "warn" }),
  flaw: (data) => ({
    label: "flawed",
    detail: `${data.flaw}; the answer was kept because it was already streaming.`,
    tone: "warn",
  }),
  repair: (data) => ({ label: "asked to fix the format", detail: String(data.problem), tone: "warn" }),
  withdrawn: (data) => ({
    label: "proposal withdrawn",
    detail: `The aggregator was told not to rely on ${data.model}.`,
    tone: "warn",
  }),
  skipped: (data) => ({ label: "layer skipped", detail: String(data.error), tone: "warn" }),
  shrunk: (data) => ({
    label: "proposers left out",
    detail: `${list(data.left_out)}: ${data.reason}`,
    tone: "warn",
  }),
  agreed: (data) => ({
    label: "early exit",
    detail: `The proposals agree, so these calls were skipped: ${list(data.skipped)}.`,
    tone: "plain",
  }),
  rerun: (data) => ({ label: "re-run", detail: `Of run ${runId(data.of)}: ${data.changed}.`, tone: "plain" }),
  no_staircase: (data) => ({ label: "no staircase", detail: String(data.reason), tone: "plain" }),
  choice: (data) => ({ label: `picked ${data.model}`, detail: `Proposal ${data.number} is the answer.`, tone: "plain" }),
  read_ahead: (data) => ({
    label: `${data.tokens} tokens prefilled`,
    detail: `This part of the prompt was processed before the call began, saving about ${Number(data.saved).toFixed(1)} s.`,
    tone: "plain",
  }),
};

function runId(value: unknown): string {
  return String(value).slice(0, 8);
}

function list(value: unknown): string {
  return Array.isArray(value) ? value.join(", ") : String(value);
}
