// A run on the screen, live or stored: the fold of its events, with a version that changes at most once per frame, so
// that views are updated no more often than that however fast events arrive.
import { ApiError } from "../api/client";
import type { Event } from "../api/events";
import { watch, type Batch, type State } from "../api/watch";
import { clock } from "../ui/clock.svelte";
import { Trace } from "./trace";

export class WatchedRun {
  readonly trace = new Trace();
  state = $state<State>("running");
  // Why the events cannot be read. Failures of the run itself are in the trace.
  problem = $state<ApiError | undefined>();
  #version = $state(0);
  readonly #controller = new AbortController();
  #pending: Event[] = [];
  #finalState: State | undefined;
  #frame = 0;
  #updatedAt = performance.now();

  constructor(readonly id: string) {}

  // Reads the events until the run is over or `close` is called.
  async watch(): Promise<void> {
    try {
      await watch(this.id, (batch) => this.#receive(batch), this.#controller.signal);
    } catch (error) {
      if (this.#controller.signal.aborted) return;
      this.problem = ApiError.from(error);
    }
  }

  close(): void {
    this.#controller.abort();
    cancelAnimationFrame(this.#frame);
  }

  // Returns a part of the trace unchanged. An effect or $derived that reads it this way is updated in each frame in
  // which events arrived.
  track<Part>(part: Part): Part {
    void this.#version;
    return part;
  }

  // The current time of the run, in seconds since it began. Updated ten times a second while the run is in progress.
  now(): number {
    void clock.tick;
    if (this.state !== "running") return this.trace.time;
    return this.trace.time + (performance.now() - this.#updatedAt) / 1000;
  }

  #receive(batch: Batch): void {
    this.#pending.push(...batch.events);
    this.#finalState = batch.state ?? this.#finalState;
    if (document.hidden) this.#update(); // a hidden page draws no frames
    else this.#frame ||= requestAnimationFrame(() => this.#update());
  }

  #update(): void {
    this.#frame = 0;
    for (const event of this.#pending) this.trace.add(event);
    this.#pending = [];
    this.#updatedAt = performance.now();
    this.#version += 1;
    if (this.#finalState) this.state = this.#finalState;
  }
}
