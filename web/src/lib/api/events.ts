// The events of a run, in the JSON form of src/moa/events.py. Times are in seconds since the run began, costs in US
// dollars. Unknown values are omitted.

export type Role = "root" | "layer" | "section" | "proposer" | "aggregator" | "judge" | "reading";
export type TextKind = "text" | "reasoning" | "tool_call";

export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cost?: number;
  cached_tokens?: number;
  reasoning_tokens?: number;
  estimated?: boolean;
}

export interface Message {
  role: string;
  content: string | ReadonlyArray<{ type: string; text?: string }>;
}

export interface Request {
  messages: readonly Message[];
  [option: string]: unknown;
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
  answer?: boolean;
  request?: Request;
  started_at?: number;
  version?: number;
}

export interface Delta {
  type: "delta";
  span: string;
  time: number;
  text: string;
  kind?: TextKind;
  answer?: boolean;
}

export interface Note {
  type: "note";
  span: string;
  time: number;
  kind: string;
  data: Readonly<Record<string, unknown>>;
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

export type Event = SpanStart | Delta | Note | SpanEnd;
