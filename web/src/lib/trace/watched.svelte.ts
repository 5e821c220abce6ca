// A run that is being watched, live or stored: the fold of its events, and a number that changes at most once in each
// frame of the screen, so that a view is written at most that often however fast the words come.
import { Refused } from "../api/client";
import { watch, type Heard, type State } from "../api/watch";
import type { Event } from "../api/events";
import { clock } from "../ui/clock.svelte";
import { Trace } from "./trace";

export class Watched {
  readonly trace = new Trace();
  #frame = $state(0);
  state = $state<State>("running");
  // Why it cannot be watched; what went wrong in the run itself is in the trace.
  problem = $state<Refused | undefined>();
  readonly #gone = new AbortController();
  #waiting: Event[] = [];
  #over: State | undefined;
  #asked = 0;
  #heardAt = performance.now();

  constructor(readonly run: string) {}

  // Watches until it is over or left.
  async watch(): Promise<void> {
    try {
      await watch(this.run, (heard) => this.#hear(heard), this.#gone.signal);
    } catch (error) {
      if (this.#gone.signal.aborted) return;
      this.problem = error instanceof Refused ? error : new Refused(String(error), 0);
    }
  }

  leave(): void {
    this.#gone.abort();
    cancelAnimationFrame(this.#asked);
  }

  // The same thing, a part of the trace; an effect that sees it so runs again in each frame in which something was heard.
  seen<Part>(part: Part): Part {
    void this.#frame;
    return part;
  }

  // The moment of the run that it is now, in seconds since it began; it goes on ten times a second.
  now(): number {
    void clock.tick;
    if (this.state !== "running") return this.trace.time;
    return this.trace.time + (performance.now() - this.#heardAt) / 1000;
  }

  #hear(heard: Heard): void {
    this.#waiting.push(...heard.events);
    this.#over = heard.state ?? this.#over;
    if (document.hidden) this.#take(); // where no frames are drawn
    else this.#asked ||= requestAnimationFrame(() => this.#take());
  }

  #take(): void {
    this.#asked = 0;
    for (const event of this.#waiting) this.trace.add(event);
    this.#waiting = [];
    this.#heardAt = performance.now();
    this.#frame += 1;
    if (this.#over) this.state = this.#over;
  }
}
