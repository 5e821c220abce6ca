// Badges for what was unusual about a call, such as a retry or a cached answer, from the notes in its events.
import type { Note, NoteData, NoteKind } from "../api/events";
import type { Node } from "./trace";

export interface Badge {
  label: string;
  detail: string;
  tone: "plain" | "warn";
}

export function badges(node: Node): Badge[] {
  const result: Badge[] = [];
  const retries = node.notesOf("retry");
  if (retries.length) {
    const label = retries.length === 1 ? "retried" : `retried ${retries.length} times`;
    result.push({ label, detail: retries.map((retry) => retry.error).join("\n"), tone: "warn" });
  }
  for (const note of node.notes) {
    const badge = (BADGES as Record<string, (data: Note["data"]) => Badge | undefined>)[note.kind]?.(note.data);
    if (badge) result.push(badge);
  }
  if (node.end?.finish_reason === "length") {
    result.push({ label: "cut off", detail: "It reached its maximum number of tokens.", tone: "warn" });
  }
  return result;
}

// By kind of note. Kinds that are missing here have no badge.
const BADGES: { [Kind in NoteKind]?: (data: NoteData[Kind]) => Badge | undefined } = {
  hedged: (data) => ({
    label: "hedged",
    detail: `No answer after ${data.after} s, so a second call was started.`,
    tone: "warn",
  }),
  cached: () => ({ label: "cached", detail: "The answer came from the cache: no call, no cost.", tone: "plain" }),
  replayed: (data) => ({
    label: "reused",
    detail: `The answer was reused from run ${runId(data.of)}: no call, no cost.`,
    tone: "plain",
  }),
  dequeued: (data) =>
    data.seconds >= 0.1
      ? { label: `queued ${data.seconds.toFixed(1)} s`, detail: "It waited for a free slot.", tone: "plain" }
      : undefined,
  options_dropped: (data) => ({
    label: "options dropped",
    detail: `The provider does not support ${data.options.join(", ")}.`,
    tone: "warn",
  }),
  references_windowed: (data) => ({
    label: "read in parts",
    detail: `Its context window holds ${data.holds} of ${data.of} proposals at a time.`,
    tone: "plain",
  }),
  reference_dropped: (data) => ({ label: "proposal dropped", detail: `${data.model}: ${data.reason}`, tone: "warn" }),
  fallback: (data) => ({ label: "fallback", detail: [data.model, data.error].filter(Boolean).join(": "), tone: "warn" }),
  answer_flawed: (data) => ({
    label: "flawed",
    detail: `${data.flaw}; the answer was kept because it was already streaming.`,
    tone: "warn",
  }),
  format_retry: (data) => ({ label: "asked to fix the format", detail: data.problem, tone: "warn" }),
  staircase_retracted: (data) => ({
    label: "proposal withdrawn",
    detail: `The aggregator was told not to rely on ${data.model}.`,
    tone: "warn",
  }),
  layer_skipped: (data) => ({ label: "layer skipped", detail: data.error, tone: "warn" }),
  budget_shrunk: (data) => ({
    label: "proposers left out",
    detail: `${data.left_out.join(", ")}: ${data.reason}`,
    tone: "warn",
  }),
  early_exit: (data) => ({
    label: "early exit",
    detail: `The proposals agree, so these calls were skipped: ${data.skipped.join(", ")}.`,
    tone: "plain",
  }),
  rerun: (data) => ({ label: "re-run", detail: `Of run ${runId(data.of)}: ${data.changed}.`, tone: "plain" }),
  staircase_skipped: (data) => ({ label: "no staircase", detail: data.reason, tone: "plain" }),
  picked: (data) => ({ label: `picked ${data.model}`, detail: `Proposal ${data.number} is the answer.`, tone: "plain" }),
  prewarmed: (data) => ({
    label: `${data.tokens} tokens prefilled`,
    detail: `This part of the prompt was processed before the call began, saving about ${data.saved.toFixed(1)} s.`,
    tone: "plain",
  }),
};

function runId(id: string): string {
  return id.slice(0, 8);
}
