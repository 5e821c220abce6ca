// A tick ten times a second, for views of a run in progress.

class Clock {
  tick = $state(0);
  #users = 0;
  #timer: number | undefined;

  // Call it in an effect and return its result: the clock runs until the effect is cleaned up.
  readonly run = (): (() => void) => {
    this.#users += 1;
    this.#timer ??= setInterval(() => (this.tick += 1), 100);
    return () => {
      this.#users -= 1;
      if (this.#users) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  };
}

export const clock = new Clock();
