// The events of a run and their notes, as src/moa/events.py has them in JSON. Made by tools/events_ts.py, not to be
// edited. Times are in seconds since the run began, costs in US dollars.

export type Role = "root" | "layer" | "section" | "proposer" | "aggregator" | "judge" | "prewarm";
export type TextKind = "text" | "reasoning" | "tool_call";

export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cost?: number;
  cached_tokens: number;
  reasoning_tokens: number;
  estimated: boolean;
}

export interface Message {
  role: "system" | "developer" | "user" | "assistant" | "tool";
  content: string | ReadonlyArray<Readonly<Record<string, unknown>>>;
  name?: string;
  tool_calls: ReadonlyArray<Readonly<Record<string, unknown>>>;
  tool_call_id?: string;
}

export interface Request {
  messages: ReadonlyArray<Message>;
  temperature?: number;
  top_p?: number;
  max_tokens?: number;
  seed?: number;
  stop: ReadonlyArray<string>;
  tools: ReadonlyArray<Readonly<Record<string, unknown>>>;
  tool_choice?: string | Readonly<Record<string, unknown>>;
  response_format?: Readonly<Record<string, unknown>>;
  extra: Readonly<Record<string, unknown>>;
}

export interface SpanStart {
  type: "span_start";
  run: string;
  span: string;
  time: number;
  role: Role;
  model: string;
  parent?: string;
  layer?: number;
  index?: number;
  answer: boolean;
  request?: Request;
  started_at?: number;
  version?: number;
}

export interface TextDelta {
  type: "delta";
  span: string;
  time: number;
  text: string;
  kind: TextKind;
  answer: boolean;
}

export interface SpanEnd {
  type: "span_end";
  span: string;
  time: number;
  error?: string;
  text?: string;
  finish_reason?: string;
  usage?: Usage;
}

// The data of each kind of note.
export interface NoteData {
  // The call waits for a free slot of its provider or engine.
  queued: Record<string, never>;
  // The call has its slot, after `seconds` in the queue.
  dequeued: { seconds: number };
  // The model's weights are downloaded, on first use: `done` of `total` bytes.
  downloading: { done: number; total: number };
  // Attempt number `attempt` failed with `error`; the next one follows in `wait` seconds. Its text so far is void.
  retry: { attempt: number; wait: number; error: string };
  // The same call was made a second time, as there was no answer after `after` seconds.
  hedged: { after: number };
  // The answer comes from the cache. When it was made it took these tokens, `cost` in US dollars, and `seconds`.
  cached: { input_tokens: number; output_tokens: number; cost: number | null; seconds: number };
  // These `options` of the request were not sent, as the provider does not support them.
  options_dropped: { options: ReadonlyArray<string> };
  // The conversation as it was sent, where a wrapper changed the request that the call began with.
  request_rewritten: { messages: ReadonlyArray<Readonly<Record<string, unknown>>> };
  // The answer is the one of the stored run `of`.
  replayed: { of: string };
  // The references do not fit the context window of `model`: this call reads `holds` of them; `done` of all `of` were
  // read before.
  references_windowed: { model: string; holds: number; of: number; done: number };
  // The proposal of `model` is not read, since no window can hold it.
  reference_dropped: { model: string; reason: string };
  // The proposer with this `index` (from 0) of the layer gave no proposal, because of `error`.
  proposal_lost: { model: string; index: number; error: string };
  // The judge picked the proposal of this `number` (from 1).
  picked: { number: number; model: string };
  // The answers that were voted for, each with its number of votes, the most first.
  voted: { votes: ReadonlyArray<readonly [string, number]> };
  // Another answer is used because of `error`: a fallback model's or aggregator's. Where the aggregator failed,
  // `model` is the proposer whose proposal is the answer.
  fallback: { error: string; model?: string };
  // The answer has a `flaw`, but is not replaced, as it was already streamed.
  answer_flawed: { flaw: string };
  // The answer does not follow the response format, because of `problem`; the aggregator is asked again.
  format_retry: { problem: string };
  // The prompt was read before its call began: `tokens` of it were known, `read` of them computed for this.
  // It took `times` requests and `seconds`; the call waited about `saved` seconds less.
  prewarmed: { tokens: number; read: number; times: number; seconds: number; saved: number };
  // Prewarming the prompt cache of `model` failed. The call is made all the same.
  prewarm_failed: { model: string; error: string };
  // To keep within the budget, the proposers `left_out` of the layer are not asked.
  budget_shrunk: { layer: number; left_out: ReadonlyArray<string>; reason: string };
  // A layer after the first failed; the proposals before it are used.
  layer_skipped: { layer: number; error: string };
  // The proposals of a layer agree: their `agreement` reaches the `threshold`, `by` words or by a judge.
  // What stands in `skipped` is not asked, which saves this many `calls` of the mixture and about `cost` US dollars.
  early_exit: { layer: number; threshold: number; agreement: number; by: string; skipped: ReadonlyArray<string>; calls: number; cost: number | null };
  // The proposals of a layer do not agree enough for an early exit.
  early_exit_declined: { layer: number; threshold: number; agreement: number; by: string };
  // The aggregator writes step `number`, with parts of `shown` proposals, of which `complete` are complete.
  staircase_step: { number: number; shown: number; complete: number };
  // A step failed. The aggregator waits for the complete proposals.
  staircase_step_failed: { error: string };
  // The aggregator was informed that proposal `number`, of which it had seen a part, is withdrawn.
  staircase_retracted: { model: string; number: number };
  // Why this request is answered without a staircase.
  staircase_skipped: { reason: string };
  // The run repeats the stored run `of`, with this `changed`.
  rerun: { of: string; changed: string };
  // The estimate for the run, made before it began: its calls, tokens, cost in US dollars, and time in seconds.
  // It rests on `runs` stored runs of the same model; `unknown` are the models of which no call is stored. 95 of 100
  // runs took no longer than `at_most`. `known` is false if the estimate rests on assumptions alone.
  estimated: { model: string; calls: number; input_tokens: number; output_tokens: number; cost: number | null; seconds: number | null; at_most: number | null; runs: number; unknown: ReadonlyArray<string>; known: boolean };
}

export type NoteKind = keyof NoteData;

// Kinds that are not in `NoteData` are written by other programs.
export interface Note {
  type: "note";
  span: string;
  time: number;
  kind: string;
  data: Readonly<Record<string, unknown>>;
}

export type NoteOf<Kind extends NoteKind> = Note & { kind: Kind; data: NoteData[Kind] };

export type Event = SpanStart | TextDelta | Note | SpanEnd;
