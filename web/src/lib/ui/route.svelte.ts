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

// Where one is in a view, and once it is being left, where one was: so it asks for nothing by an address of another view.
// To be called while the view is made.
export function within(place: string): { readonly path: readonly string[]; readonly query: URLSearchParams } {
  let last = { path: [] as readonly string[], query: new URLSearchParams() };
  const at = $derived.by(() => {
    if ((route.path[0] ?? "") === place) last = { path: route.path, query: route.query };
    return last;
  });
  return {
    get path() {
      return at.path;
    },
    get query() {
      return at.query;
    },
  };
}

// The address of a place, for a link.
export function to(path: string | readonly string[] = [], query: Record<string, string> = {}): string {
  const parts = typeof path === "string" ? [path] : path;
  const asked = new URLSearchParams(query).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${asked && `?${asked}`}`;
}
