// Dark or light: as the system says, unless the person has chosen.

const PLACE = "moa.theme";
type Choice = "system" | "light" | "dark";

class Theme {
  #chosen = $state<Choice>((localStorage.getItem(PLACE) as Choice | null) ?? "system");
  readonly #system = matchMedia("(prefers-color-scheme: dark)");
  #dark = $state(this.#system.matches);

  constructor() {
    this.#system.addEventListener("change", (event) => (this.#dark = event.matches));
    this.#show();
  }

  get dark(): boolean {
    return this.#chosen === "system" ? this.#dark : this.#chosen === "dark";
  }

  turn(): void {
    this.#chosen = this.dark ? "light" : "dark";
    localStorage.setItem(PLACE, this.#chosen);
    this.#show();
  }

  #show(): void {
    if (this.#chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.#chosen;
  }
}

export const theme = new Theme();
