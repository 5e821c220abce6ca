// Ticks ten times a second while somebody looks at a run that goes on.

class Clock {
  tick = $state(0);
  #watchers = 0;
  #timer: number | undefined;

  // To be called in an effect: ticks until it is cleaned up.
  readonly run = (): (() => void) => {
    this.#watchers += 1;
    this.#timer ??= setInterval(() => (this.tick += 1), 100);
    return () => {
      this.#watchers -= 1;
      if (this.#watchers) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  };
}

export const clock = new Clock();
