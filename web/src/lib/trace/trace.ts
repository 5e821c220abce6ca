// Events folded into a tree: who was asked what, when the words came, what they cost, what was lost. The same fold as
// src/moa/trace.py; the streams in tests/golden are told alike by both.
import type { Delta, Event, Note, SpanEnd, SpanStart, TextKind, Usage } from "../api/events";

// One call, or one layer, or a mixture, which only hold calls. Times are in seconds since the run began.
export class Node {
  readonly children: Node[] = [];
  readonly notes: Note[] = [];
  end: SpanEnd | undefined;
  firstWord: number | undefined;
  // Grows with everything that is heard of this node itself, so that a view knows when to look again.
  version = 0;
  // Grows when the words so far are void, so that a view that only appends knows when to begin again.
  voided = 0;
  readonly #words: Partial<Record<TextKind, string>> = {};

  constructor(
    readonly start: SpanStart,
    readonly parent: Node | undefined,
  ) {}

  // Its words so far, or the whole answer once it has ended.
  get text(): string {
    return this.#words.text ?? "";
  }

  get reasoning(): string {
    return this.#words.reasoning ?? "";
  }

  get isCall(): boolean {
    return this.start.role !== "layer" && this.start.role !== "section" && this.children.length === 0;
  }

  // What it used, with everything below it; undefined while it goes on or when nobody knows.
  get usage(): Usage | undefined {
    return this.end?.usage;
  }

  get error(): string | undefined {
    return this.end?.error;
  }

  note(kind: string): Note | undefined {
    return this.notes.findLast((note) => note.kind === kind);
  }

  hear(delta: Delta): void {
    this.firstWord ??= delta.time;
    const kind = delta.kind ?? "text";
    this.#words[kind] = (this.#words[kind] ?? "") + delta.text;
  }

  void(): void {
    delete this.#words.text;
    delete this.#words.reasoning;
    delete this.#words.tool_call;
    this.firstWord = undefined;
    this.voided += 1;
  }

  // Its end; what that says of the words is so.
  close(end: SpanEnd): void {
    this.end = end;
    if (end.text !== undefined && end.text !== this.#words.text) {
      if (!end.text.startsWith(this.text)) this.voided += 1;
      this.#words.text = end.text;
    }
  }

  *walk(): Generator<Node> {
    yield this;
    for (const child of this.children) yield* child.walk();
  }
}

export interface Lost {
  model: string;
  layer: number | undefined;
  error: string;
}

// A run as a tree. It is true at any moment, also while the run goes on.
export class Trace {
  root: Node | undefined;
  time = 0;
  firstWord: number | undefined;
  readonly lost: Lost[] = [];
  readonly agreed: Readonly<Record<string, unknown>>[] = [];
  #answer = "";
  readonly #nodes = new Map<string, Node>();

  // What the run answers, as far as it is written.
  get answer(): string {
    return this.root?.end?.text ?? this.#answer;
  }

  // Every call to one model, in the order they began.
  get calls(): Node[] {
    return this.root ? [...this.root.walk()].filter((node) => node.isCall) : [];
  }

  node(span: string): Node {
    const node = this.#nodes.get(span);
    if (!node) throw new Error(`no call ${span} has begun`);
    return node;
  }

  add(event: Event): void {
    this.time = Math.max(this.time, event.time);
    if (event.type === "span_start") return this.#begin(event);
    const node = this.node(event.span);
    node.version += 1;
    switch (event.type) {
      case "delta":
        node.hear(event);
        if (event.answer && (event.kind ?? "text") === "text") {
          this.firstWord ??= event.time;
          this.#answer += event.text;
        }
        break;
      case "note":
        node.notes.push(event);
        this.#noted(node, event);
        break;
      case "span_end":
        node.close(event);
    }
  }

  #begin(event: SpanStart): void {
    const parent = event.parent === undefined ? undefined : this.node(event.parent);
    const node = new Node(event, parent);
    this.#nodes.set(event.span, node);
    if (parent) {
      parent.children.push(node);
      parent.version += 1;
    } else {
      this.root = node;
    }
  }

  #noted(node: Node, note: Note): void {
    if (note.kind === "retry") node.void();
    else if (note.kind === "agreed") this.agreed.push(note.data);
    else if (note.kind === "lost") {
      this.lost.push({ model: String(note.data.model), layer: node.start.layer, error: String(note.data.error) });
    }
  }
}

export function folded(events: Iterable<Event>): Trace {
  const trace = new Trace();
  for (const event of events) trace.add(event);
  return trace;
}
