// The key of this person, where the server demands one. It is kept for this tab alone, until it is closed.

const PLACE = "moa.key";

class Keyring {
  key = $state(sessionStorage.getItem(PLACE) ?? "");
  // Whether something waits for a key, and whether the one that was given is refused.
  waiting = $state(false);
  #given: Promise<void> | undefined;
  #give: (() => void) | undefined;

  get refused(): boolean {
    return this.waiting && this.key !== "";
  }

  // Returns once there is another key than the one that was tried.
  async wanted(tried: string, signal?: AbortSignal): Promise<void> {
    if (this.key !== tried) return;
    this.waiting = true;
    this.#given ??= new Promise((resolve) => (this.#give = resolve));
    const gone = new Promise<never>((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    await (signal ? Promise.race([this.#given, gone]) : this.#given);
  }

  give(key: string): void {
    this.key = key.trim();
    sessionStorage.setItem(PLACE, this.key);
    this.waiting = false;
    this.#give?.();
    this.#given = this.#give = undefined;
  }
}

export const keyring = new Keyring();
