// Folds the events of a run into a tree of calls. This is the same fold as src/moa/trace/tree.py; tests/golden holds streams
// of events with the result that both must give.
import type {
  Event,
  Note,
  NoteData,
  NoteKind,
  NoteOf,
  SpanEnd,
  SpanStart,
  TextDelta,
  TextKind,
  Usage,
} from "../api/events";

export function isNote<Kind extends NoteKind>(note: Note | undefined, kind: Kind): note is NoteOf<Kind> {
  return note?.kind === kind;
}

// A call, or a layer, section or mixture that contains calls. Times are in seconds since the run began.
export class Node {
  readonly children: Node[] = [];
  readonly notes: Note[] = [];
  end: SpanEnd | undefined;
  firstWord: number | undefined;
  // Increases with each event of this node, so that a view knows when to read it again.
  version = 0;
  // Increases when the text so far becomes void, so that a view that only appends knows when to start over.
  voided = 0;
  readonly #text: Partial<Record<TextKind, string>> = {};

  constructor(
    readonly start: SpanStart,
    readonly parent: Node | undefined,
  ) {}

  // The text so far, or the complete text once the call has ended.
  get text(): string {
    return this.#text.text ?? "";
  }

  get reasoning(): string {
    return this.#text.reasoning ?? "";
  }

  get isCall(): boolean {
    return this.start.role !== "layer" && this.start.role !== "section" && this.children.length === 0;
  }

  // The usage of this node and everything below it; undefined while it is running or if it is unknown.
  get usage(): Usage | undefined {
    return this.end?.usage;
  }

  get error(): string | undefined {
    return this.end?.error;
  }

  // The data of its notes of one kind.
  notesOf<Kind extends NoteKind>(kind: Kind): NoteData[Kind][] {
    return this.notes.filter((note) => isNote(note, kind)).map((note) => note.data);
  }

  append(delta: TextDelta): void {
    this.firstWord ??= delta.time;
    this.#text[delta.kind] = (this.#text[delta.kind] ?? "") + delta.text;
  }

  void(): void {
    delete this.#text.text;
    delete this.#text.reasoning;
    delete this.#text.tool_call;
    this.firstWord = undefined;
    this.voided += 1;
  }

  // Ends the node. The text of the end event, if any, replaces the streamed text.
  close(end: SpanEnd): void {
    this.end = end;
    if (end.text !== undefined && end.text !== this.#text.text) {
      if (!end.text.startsWith(this.text)) this.voided += 1;
      this.#text.text = end.text;
    }
  }

  *walk(): Generator<Node> {
    yield this;
    for (const child of this.children) yield* child.walk();
  }
}

// A proposal that failed.
export interface Lost {
  model: string;
  layer: number | undefined;
  error: string;
}

// A run as a tree. It is valid at any moment, also while the run is in progress.
export class Trace {
  root: Node | undefined;
  time = 0;
  firstWord: number | undefined;
  readonly lost: Lost[] = [];
  #answer = "";
  readonly #nodes = new Map<string, Node>();

  // The answer so far.
  get answer(): string {
    return this.root?.end?.text ?? this.#answer;
  }

  // All calls to a single model, in the order in which they began. Prewarming a model does not count as a call.
  get calls(): Node[] {
    return this.root ? [...this.root.walk()].filter((node) => node.isCall && node.start.role !== "prewarm") : [];
  }

  node(span: string): Node {
    const node = this.#nodes.get(span);
    if (!node) throw new Error(`unknown span ${span}`);
    return node;
  }

  add(event: Event): void {
    this.time = Math.max(this.time, event.time);
    if (event.type === "span_start") return this.#begin(event);
    const node = this.node(event.span);
    node.version += 1;
    switch (event.type) {
      case "delta":
        node.append(event);
        if (event.answer && event.kind === "text") {
          this.firstWord ??= event.time;
          this.#answer += event.text;
        }
        break;
      case "note":
        node.notes.push(event);
        this.#note(node, event);
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

  #note(node: Node, note: Note): void {
    if (isNote(note, "retry")) node.void();
    else if (isNote(note, "proposal_lost")) {
      this.lost.push({ model: note.data.model, layer: node.start.layer, error: note.data.error });
    }
  }
}

export function fold(events: Iterable<Event>): Trace {
  const trace = new Trace();
  for (const event of events) trace.add(event);
  return trace;
}
