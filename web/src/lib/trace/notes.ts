// What was remarkable about a call: that it was tried again, that its answer was kept from before, what was left out.
import type { Node } from "./trace";

// A few words about what happened to a call on its way, each with the whole story.
export interface Remark {
  word: string;
  story: string;
  tone: "plain" | "warn";
}

export function remarks(node: Node): Remark[] {
  const told: Remark[] = [];
  const retries = node.notes.filter((note) => note.kind === "retry");
  if (retries.length) {
    const word = retries.length === 1 ? "tried again" : `tried again ${retries.length} times`;
    told.push({ word, story: retries.map((note) => String(note.data.error)).join("\n"), tone: "warn" });
  }
  for (const note of node.notes) {
    const remark = REMARKS[note.kind]?.(note.data);
    if (remark) told.push(remark);
  }
  if (node.end?.finish_reason === "length") {
    told.push({ word: "cut off", story: "It reached the most words it may write.", tone: "warn" });
  }
  return told;
}

type Data = Readonly<Record<string, unknown>>;

const REMARKS: Record<string, (data: Data) => Remark | undefined> = {
  hedged: (data) => ({ word: "asked twice", story: `No answer after ${data.after} s, so it was asked once more.`, tone: "warn" }),
  cached: () => ({ word: "cached", story: "The answer to this very call was kept, so nothing was asked or paid.", tone: "plain" }),
  recalled: (data) => ({ word: "from before", story: `Its answer in the run ${String(data.of).slice(0, 8)}, so nothing was asked or paid.`, tone: "plain" }),
  queued: (data) =>
    Number(data.seconds) >= 0.1
      ? { word: `waited ${Number(data.seconds).toFixed(1)} s`, story: "It waited for its turn.", tone: "plain" }
      : undefined,
  unsent: (data) => ({ word: "options left out", story: `Its provider refuses ${listed(data.options)}.`, tone: "warn" }),
  window: (data) => ({ word: "read in parts", story: `Its window holds ${data.holds} of ${data.of} proposals at a time.`, tone: "plain" }),
  left_out: (data) => ({ word: "one left out", story: `${data.model}: ${data.reason}`, tone: "warn" }),
  fallback: (data) => ({ word: "another answers", story: [data.model, data.error].filter(Boolean).join(": "), tone: "warn" }),
  flaw: (data) => ({ word: "flawed", story: `${data.flaw}; it was being read, so it stands.`, tone: "warn" }),
  repair: (data) => ({ word: "asked to mend it", story: String(data.problem), tone: "warn" }),
  withdrawn: (data) => ({ word: "one withdrawn", story: `It was told not to rely on ${data.model}.`, tone: "warn" }),
  skipped: (data) => ({ word: "layer skipped", story: String(data.error), tone: "warn" }),
  shrunk: (data) => ({ word: "made smaller", story: `${listed(data.left_out)}: ${data.reason}`, tone: "warn" }),
  agreed: (data) => ({
    word: "left early",
    story: `The proposals agree, so what only would have repeated them was not asked (${listed(data.skipped)}).`,
    tone: "plain",
  }),
  rerun: (data) => ({ word: "made again", story: `From the run ${String(data.of).slice(0, 8)}: ${data.changed}.`, tone: "plain" }),
  no_staircase: (data) => ({ word: "not in steps", story: String(data.reason), tone: "plain" }),
  choice: (data) => ({ word: `chose ${data.model}`, story: `Proposal ${data.number} is the answer.`, tone: "plain" }),
  read_ahead: (data) => ({
    word: `${data.tokens} tokens ahead`,
    story: `So much of the prompt was read before the call began; about ${Number(data.saved).toFixed(1)} s were saved.`,
    tone: "plain",
  }),
};

function listed(value: unknown): string {
  return Array.isArray(value) ? value.join(", ") : String(value);
}
