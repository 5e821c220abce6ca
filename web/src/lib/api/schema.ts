// What the server's API takes and gives, as /openapi.json describes it. Made by tools/schema_ts.py, not to be edited.

export interface BudgetTable {
  dollars?: number | null;
  tokens?: number | null;
  seconds?: number | null;
}

export interface Call {
  span: string;
  role: string;
  model: string;
  layer?: number;
  index?: number;
  started: number;
  first_word?: number;
  ended?: number;
  error?: string;
  finish_reason?: string;
  usage?: Used;
  text?: string;
  notes?: {
    time: number;
    kind: string;
  }[];
  calls?: Call[];
}

export interface CalledFunction {
  name: string;
  arguments: string;
}

export interface ChatMessage {
  role: "system" | "developer" | "user" | "assistant" | "tool";
  content?: string | (TextPart | RefusalPart | ImagePart | OtherPart)[] | null;
  name?: string | null;
  tool_calls?: moa__server__protocols__openai__chat_body__ToolCall[] | null;
  tool_call_id?: string | null;
}

export interface Checked {
  valid: boolean;
  error: string | null;
  mixture: Mixture | null;
}

export interface Difference {
  runs: ListedRun[];
  words: ({
    change: "same" | "gone" | "new";
    text: string;
  })[];
  calls: {
    role: string;
    model: string;
    counts: number[];
  }[];
}

export interface DraftBody {
  toml?: string | null;
  table?: Record<string, unknown> | null;
  name?: string;
}

export interface Figures {
  mixture: string;
  role: "root" | "proposer" | "aggregator" | "judge";
  model: string;
  day?: string;
  calls: number;
  lost: number;
  cached: number;
  retries: number;
  input_tokens: number;
  output_tokens: number;
  cost: number | null;
  seconds: Spread | null;
  first_word: Spread | null;
  share: number | null;
  traced: number;
}

export interface Image {
  url: string;
}

export interface ImagePart {
  type: "image_url";
  image_url: Image;
}

export interface ListedRun {
  id: string;
  started: string;
  model: string;
  state: "running" | "answered" | "failed" | "stopped" | "unfinished";
  question: string | null;
  parent: string | null;
  error: string | null;
  owner: string | null;
  seconds: number | null;
  first_word: number | null;
  cost: number | null;
  calls: number | null;
  lost: number | null;
  input_tokens: number | null;
  output_tokens: number | null;
}

export interface Member {
  model: string;
  samples: number;
  calls: number;
  settings: Record<string, unknown>;
}

export interface Messages {
  calls: Sent[];
}

export interface Mixture {
  name: string;
  description: string;
  layers: Member[][];
  aggregator: {
    kind: "synthesize" | "pick" | "vote";
    model: string | null;
    fallback: string[];
    calls: number;
    settings: Record<string, unknown>;
  };
  settings: Record<string, unknown>;
  calls: number;
  cost: number | null;
  unknown: string[];
  assumed: string;
  table: Record<string, unknown>;
  toml: string;
}

export interface Mixtures {
  default: string;
  mixtures: Mixture[];
}

export interface OtherPart {
  type: "input_audio" | "file";
}

export interface Overrides {
  quorum?: number | null;
  deadline?: number | null;
  grace?: number | null;
  layers?: number | null;
  budget?: BudgetTable | null;
  proposals?: "fields" | "think" | "details" | "off" | null;
  provenance?: boolean | null;
}

export interface Piece {
  reference: number | null;
  text: string;
}

export interface Plan {
  of: string;
  model: string;
  changed: string;
  kept: number;
  calls: PlannedCall[];
  usage: Used;
}

export interface PlannedCall {
  role: string;
  layer: number | null;
  model: string;
  usage: Used;
}

export interface Provenance {
  proposals: ({
    model: string;
    span: string | null;
    share: number;
  })[];
  own: number;
  sentences: ({
    start: number;
    end: number;
    kind: "prose" | "heading" | "row" | "code";
    own: boolean;
    sources: ({
      proposal: number;
      relation: "supports" | "contradicts";
      strength: number;
      start: number;
      end: number;
      why: string | null;
    })[];
    lacks: number[];
  })[];
}

export interface Quote {
  model: string;
  calls: number;
  input_tokens: number;
  output_tokens: number;
  runs: number;
  cost: number | null;
  seconds: number | null;
  at_most: number | null;
  unknown: string[];
  known: boolean;
}

export interface RefusalPart {
  type: "refusal";
  refusal: string;
}

export interface RerunBody {
  aggregator?: string | null;
  prompt?: string | null;
  without?: string | null;
  layer?: number | null;
  proposer?: string | null;
}

export interface Run {
  run_id: string;
  model: string;
  state: "running" | "answered" | "failed" | "stopped" | "unfinished";
  events: number;
  started: string;
  question: string | null;
  parent: string | null;
  tree: Call;
  summary?: Summary;
  error?: {
    message: string | null;
    type: string | null;
    code: string | null;
  };
}

export interface RunBody {
  model?: string | null;
  draft?: DraftBody | null;
  prompt?: string | null;
  messages?: ChatMessage[] | null;
  options?: Record<string, unknown>;
  moa?: Overrides | null;
  estimate?: boolean;
}

export interface RunList {
  runs: ListedRun[];
  before: string | null;
}

export interface Sent {
  span: string;
  role: string;
  model: string;
  layer: number | null;
  index: number | null;
  messages: {
    role: string;
    pieces: Piece[];
  }[];
  options: Record<string, unknown>;
  answer: string;
  error: string | null;
}

export interface Spread {
  p50: number;
  p90: number;
  p95: number;
  p99: number;
}

export interface Started {
  run_id: string;
}

export interface Stats {
  whole: Figures[];
  days: Figures[];
}

export interface Summary {
  run: string;
  model: string;
  answer: string;
  finish_reason: string;
  fallback?: string;
  usage: Used;
  references: Record<string, unknown>[];
  lost: ({
    model: string;
    layer: number | null;
    error: string;
  })[];
  agreed?: Record<string, unknown>[];
  timing: {
    total: number;
    first_word: number | null;
  };
}

export interface TextPart {
  type: "text";
  text: string;
}

export interface Used {
  input_tokens: number;
  output_tokens: number;
  cost: number | null;
  estimated?: boolean;
}

export interface moa__server__protocols__openai__chat_body__ToolCall {
  id: string;
  type?: "function";
  function: CalledFunction;
}
