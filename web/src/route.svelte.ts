// Where in the page one is: the part of the address after #, such as #/runs/01a2?with=01b3.

class Route {
  #hash = $state(location.hash);

  constructor() {
    addEventListener("hashchange", () => (this.#hash = location.hash));
  }

  // "runs", "01a2"; of the start it is empty.
  readonly path: readonly string[] = $derived(
    this.#hash.replace(/^#\/?/, "").split("?")[0]!.split("/").filter(Boolean).map(decodeURIComponent),
  );

  readonly query: URLSearchParams = $derived(new URLSearchParams(this.#hash.split("?")[1] ?? ""));
}

export const route = new Route();

// The address of a place, for a link.
export function to(...path: string[]): string {
  return `#/${path.map(encodeURIComponent).join("/")}`;
}
