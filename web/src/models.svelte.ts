// The mixtures and models that can be asked here, fetched once.
import { get, type Refused } from "./api/client";

class Models {
  names = $state.raw<string[]>([]);
  problem = $state<Refused | undefined>();
  #asked: Promise<void> | undefined;

  fetch(): Promise<void> {
    return (this.#asked ??= this.#fetch());
  }

  async #fetch(): Promise<void> {
    try {
      const { data } = await get<{ data: { id: string }[] }>("/v1/models");
      this.names = data.map((one) => one.id);
      this.problem = undefined;
    } catch (error) {
      this.problem = error as Refused;
      this.#asked = undefined;
    }
  }

  get mixtures(): string[] {
    return this.names.filter((name) => name.startsWith("moa:"));
  }

  get others(): string[] {
    return this.names.filter((name) => !name.startsWith("moa:"));
  }
}

export const models = new Models();
