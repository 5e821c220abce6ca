// The user's API key, if the server requires one. It is stored for this tab only, until the tab is closed.

const STORAGE_KEY = "moa.key";

class Keyring {
  key = $state(sessionStorage.getItem(STORAGE_KEY) ?? "");
  // Whether a request is waiting for a key.
  waiting = $state(false);
  #next: Promise<void> | undefined;
  #resolve: (() => void) | undefined;

  // Whether the last key was rejected.
  get rejected(): boolean {
    return this.waiting && this.key !== "";
  }

  // Resolves when there is another key than `key`.
  async keyOtherThan(key: string, signal?: AbortSignal): Promise<void> {
    if (this.key !== key) return;
    this.waiting = true;
    this.#next ??= new Promise((resolve) => (this.#resolve = resolve));
    const abort = new Promise<never>((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    await (signal ? Promise.race([this.#next, abort]) : this.#next);
  }

  set(key: string): void {
    this.key = key.trim();
    sessionStorage.setItem(STORAGE_KEY, this.key);
    this.waiting = false;
    this.#resolve?.();
    this.#next = this.#resolve = undefined;
  }
}

export const keyring = new Keyring();
