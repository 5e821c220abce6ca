// The mixtures and models that can be asked, fetched once for the whole page.
import { Fetched } from "./fetched.svelte";
import { paths } from "./paths";
import type { Mixture, Mixtures } from "./schema";

class Models {
  #wanted = $state(false);
  #models!: Fetched<{ data: { id: string }[] }>;
  #mixtures!: Fetched<Mixtures>;

  constructor() {
    $effect.root(() => {
      this.#models = new Fetched(() => (this.#wanted ? paths.models : undefined));
      this.#mixtures = new Fetched(() => (this.#wanted ? paths.mixtures : undefined));
    });
  }

  // Fetches the lists on the first call, and again if that failed.
  load(): void {
    this.#wanted = true;
    if (this.#models.problem) this.#models.refetch();
    if (this.#mixtures.problem) this.#mixtures.refetch();
  }

  get loaded(): boolean {
    return this.#models.value !== undefined && this.#mixtures.value !== undefined;
  }

  get problem() {
    return this.#models.problem ?? this.#mixtures.problem;
  }

  // The full names of everything that can be asked.
  readonly names: readonly string[] = $derived.by(() => this.#models.value?.data.map((model) => model.id) ?? []);

  // The model that answers by default, or "" until it is known.
  get preferred(): string {
    const name = this.#mixtures.value?.default;
    return this.names.find((one) => one === name || one === `moa:${name}`) ?? "";
  }

  get mixtures(): string[] {
    return this.names.filter((name) => name.startsWith("moa:"));
  }

  get others(): string[] {
    return this.names.filter((name) => !name.startsWith("moa:"));
  }

  mixture(name: string): Mixture | undefined {
    return this.#mixtures.value?.mixtures.find((mixture) => `moa:${mixture.name}` === name);
  }

  // One line about a mixture or model.
  describe(name: string): string {
    const mixture = this.mixture(name);
    if (!mixture) return name && "A single model.";
    const calls = `${mixture.calls} calls per question`;
    return mixture.description ? `${mixture.description} · ${calls}` : calls;
  }
}

export const models = new Models();
