// Dark or light: the system's preference, until the user chooses.

const STORAGE_KEY = "moa.theme";
type Choice = "system" | "light" | "dark";

class Theme {
  #choice = $state<Choice>((localStorage.getItem(STORAGE_KEY) as Choice | null) ?? "system");
  readonly #query = matchMedia("(prefers-color-scheme: dark)");
  #systemDark = $state(this.#query.matches);

  constructor() {
    this.#query.addEventListener("change", (event) => (this.#systemDark = event.matches));
    this.#apply();
  }

  get dark(): boolean {
    return this.#choice === "system" ? this.#systemDark : this.#choice === "dark";
  }

  toggle(): void {
    this.#choice = this.dark ? "light" : "dark";
    localStorage.setItem(STORAGE_KEY, this.#choice);
    this.#apply();
  }

  #apply(): void {
    if (this.#choice === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.#choice;
  }
}

export const theme = new Theme();
