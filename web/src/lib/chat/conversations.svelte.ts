// The user's conversations, stored by the browser: the questions, the runs that answered them, and the answers, which are
// sent along with the next question. The runs themselves are stored by the server.
import type { ChatMessage } from "../api/schema";
import type { State } from "../api/watch";

const STORAGE_KEY = "moa.conversations";
const MAX_CONVERSATIONS = 60;

// An answer to a question. A re-run with a change adds another take to the same turn.
export interface Take {
  run: string;
  // A description of the change; none for the first take.
  change?: string;
  state: State;
  answer: string;
}

export interface Turn {
  question: string;
  model: string;
  takes: Take[];
  shown: number; // the index of the take that is shown and sent with the next question
}

export interface Conversation {
  id: string;
  began: number; // Unix time in seconds
  turns: Turn[];
}

class Conversations {
  all = $state<Conversation[]>(load());
  // Why they could not be stored, if so.
  problem = $state("");

  constructor() {
    // the event comes from other tabs only
    addEventListener("storage", ({ key }) => key === STORAGE_KEY && this.#merge(load()));
  }

  find(id: string | null): Conversation | undefined {
    return this.all.find((conversation) => conversation.id === id);
  }

  begin(turn: Turn): Conversation {
    const id = crypto.getRandomValues(new Uint32Array(2)).reduce((text, part) => text + part.toString(36), "");
    this.all.unshift({ id, began: Date.now() / 1000, turns: [turn] });
    this.all.length = Math.min(this.all.length, MAX_CONVERSATIONS);
    this.save();
    return this.all[0]!;
  }

  remove(id: string): void {
    this.all = this.all.filter((conversation) => conversation.id !== id);
    this.save();
  }

  // Takes over the conversations of another tab. Objects that are unchanged are kept, so that views are not updated.
  #merge(others: Conversation[]): void {
    this.all = others.map((other) => {
      const own = this.find(other.id);
      return own && JSON.stringify(own) === JSON.stringify(other) ? own : other;
    });
  }

  // Call it after every change to a conversation.
  save(): void {
    try {
      localStorage.setItem(STORAGE_KEY, JSON.stringify(this.all));
      this.problem = "";
    } catch {
      this.problem = "The browser's storage is full: this conversation is not saved. Delete some old ones.";
    }
  }
}

function load(): Conversation[] {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "[]");
    return Array.isArray(value) ? (value as Conversation[]).filter(({ id, turns }) => id && turns?.length) : [];
  } catch {
    return [];
  }
}

export const conversations = new Conversations();

export function title(conversation: Conversation): string {
  return conversation.turns[0]!.question.trim().split("\n")[0]!.slice(0, 120);
}

// The messages of the turns so far, followed by the next question.
export function messages(turns: readonly Turn[], question: string): ChatMessage[] {
  const history = turns.flatMap((turn): ChatMessage[] => {
    const answer = turn.takes[turn.shown]?.answer;
    if (!answer) return [];
    return [
      { role: "user", content: turn.question },
      { role: "assistant", content: answer },
    ];
  });
  return [...history, { role: "user", content: question }];
}
