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

  // Goes there as if one had been there from the start: the way back leads past it.
  replace(address: string): void {
    history.replaceState(null, "", address);
    this.#hash = location.hash;
  }
}

export const route = new Route();

// The address of a place, for a link.
export function to(path: string | readonly string[] = [], query: Record<string, string> = {}): string {
  const parts = typeof path === "string" ? [path] : path;
  const asked = new URLSearchParams(query).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${asked && `?${asked}`}`;
}
