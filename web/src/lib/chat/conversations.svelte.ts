// The conversations of this person, kept by their browser: what was asked, which runs answered, and the answers, so that
// the next question can be asked with what was said before. The runs themselves are the server's.
import type { ChatMessage } from "../api/schema";
import type { State } from "../api/watch";

const PLACE = "moa.conversations";
const MOST = 60;

// One answer to a question; a question may have been answered again, with a change.
export interface Take {
  run: string;
  // What was changed of the first take, in words.
  change?: string;
  state: State;
  answer: string;
}

export interface Turn {
  question: string;
  model: string;
  takes: Take[];
  shown: number; // which of the takes counts
}

export interface Conversation {
  id: string;
  began: number; // Unix time in seconds
  turns: Turn[];
}

class Conversations {
  all = $state<Conversation[]>(read());
  // Why they cannot be kept, where that is so.
  problem = $state("");

  constructor() {
    addEventListener("storage", ({ key }) => key === PLACE && this.#merge(read())); // another tab has written
  }

  find(id: string | null): Conversation | undefined {
    return this.all.find((one) => one.id === id);
  }

  begin(turn: Turn): Conversation {
    const id = crypto.getRandomValues(new Uint32Array(2)).reduce((told, part) => told + part.toString(36), "");
    this.all.unshift({ id, began: Date.now() / 1000, turns: [turn] });
    this.all.length = Math.min(this.all.length, MOST);
    this.keep();
    return this.all[0]!;
  }

  remove(id: string): void {
    this.all = this.all.filter((one) => one.id !== id);
    this.keep();
  }

  clear(): void {
    this.all = [];
    this.keep();
  }

  // What another tab knows, but where nothing was added to a conversation the same objects as before.
  #merge(others: Conversation[]): void {
    this.all = others.map((other) => {
      const own = this.find(other.id);
      return own && JSON.stringify(own) === JSON.stringify(other) ? own : other;
    });
  }

  // To be called when something in them has changed.
  keep(): void {
    try {
      localStorage.setItem(PLACE, JSON.stringify(this.all));
      this.problem = "";
    } catch {
      this.problem = "The browser has no room for more conversations: this one is not kept. Remove some that are old.";
    }
  }
}

function read(): Conversation[] {
  try {
    const told: unknown = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
    return Array.isArray(told) ? (told as Conversation[]).filter((one) => one.id && one.turns?.length) : [];
  } catch {
    return [];
  }
}

export const conversations = new Conversations();

export function title(conversation: Conversation): string {
  return conversation.turns[0]!.question.trim().split("\n")[0]!.slice(0, 120);
}

// What was said, as the next question is to be asked with it.
export function messages(turns: readonly Turn[], question: string): ChatMessage[] {
  const said = turns.flatMap((turn): ChatMessage[] => {
    const answer = turn.takes[turn.shown]?.answer;
    if (!answer) return [];
    return [
      { role: "user", content: turn.question },
      { role: "assistant", content: answer },
    ];
  });
  return [...said, { role: "user", content: question }];
}
