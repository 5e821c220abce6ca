// A value from the server that a component shows. It is fetched when the component is mounted, and again whenever its
// path changes.
import { ApiError, get } from "./client";

export class Fetched<Body> {
  // The last value; it stays while a newer one is being fetched.
  value = $state.raw<Body | undefined>();
  problem = $state.raw<ApiError | undefined>();
  waiting = $state(true);
  #version = $state(0);

  // Call it while a component is initialised, or within `$effect.root`. Nothing is fetched while `path` is undefined.
  constructor(path: () => string | undefined) {
    $effect(() => {
      void this.#version;
      const current = path();
      if (current === undefined) return;
      const controller = new AbortController();
      this.waiting = true;
      void this.#fetch(current, controller.signal);
      return () => controller.abort();
    });
  }

  refetch(): void {
    this.#version += 1;
  }

  async #fetch(path: string, signal: AbortSignal): Promise<void> {
    try {
      this.value = await get<Body>(path, signal);
      this.problem = undefined;
    } catch (error) {
      if (signal.aborted) return;
      this.value = undefined;
      this.problem = ApiError.from(error);
    }
    this.waiting = false;
  }
}
