// The mixtures and models that can be asked here, fetched once.
import { get, Refused } from "./client";
import type { Mixture, Mixtures } from "./schema";

class Models {
  // Everything that can be asked, by its whole name.
  names = $state.raw<string[]>([]);
  // What answers where nothing is chosen, once that is known.
  preferred = $state("");
  problem = $state<Refused | undefined>();
  #mixtures = $state.raw<Mixture[]>([]);
  #asked: Promise<void> | undefined;

  fetch(): Promise<void> {
    return (this.#asked ??= this.#fetch());
  }

  async #fetch(): Promise<void> {
    try {
      const [models, mixtures] = [get<{ data: { id: string }[] }>("/v1/models"), get<Mixtures>("/api/mixtures")];
      this.names = (await models).data.map((one) => one.id);
      const drawn = await mixtures;
      this.#mixtures = drawn.mixtures;
      this.preferred = this.names.find((name) => name === drawn.default || name === `moa:${drawn.default}`) ?? "";
      this.problem = undefined;
    } catch (error) {
      this.problem = error instanceof Refused ? error : new Refused(String(error), 0);
      this.#asked = undefined;
    }
  }

  get mixtures(): string[] {
    return this.names.filter((name) => name.startsWith("moa:"));
  }

  get others(): string[] {
    return this.names.filter((name) => !name.startsWith("moa:"));
  }

  mixture(name: string): Mixture | undefined {
    return this.#mixtures.find((one) => `moa:${one.name}` === name);
  }

  // What a name stands for, in a line.
  described(name: string): string {
    const mixture = this.mixture(name);
    if (!mixture) return name && "A single model.";
    const calls = `${mixture.calls} calls a question`;
    return mixture.description ? `${mixture.description} · ${calls}` : calls;
  }
}

export const models = new Models();
