// Something of the server that a view shows: asked for when the view is there, again when its address changes.
import { get, Refused } from "./client";

export class Fetched<Answer> {
  // What came last; it stays while something newer is on its way.
  value = $state.raw<Answer | undefined>();
  problem = $state.raw<Refused | undefined>();
  waiting = $state(true);
  #times = $state(0);

  // To be made while a component is. Nothing is asked while there is no path.
  constructor(path: () => string | undefined) {
    $effect(() => {
      void this.#times;
      const asked = path();
      if (asked === undefined) return;
      const gone = new AbortController();
      this.waiting = true;
      void this.#fetch(asked, gone.signal);
      return () => gone.abort();
    });
  }

  again(): void {
    this.#times += 1;
  }

  async #fetch(path: string, gone: AbortSignal): Promise<void> {
    try {
      this.value = await get<Answer>(path, gone);
      this.problem = undefined;
    } catch (error) {
      if (gone.aborted) return;
      this.value = undefined;
      this.problem = error instanceof Refused ? error : new Refused(String(error), 0);
    }
    this.waiting = false;
  }
}
