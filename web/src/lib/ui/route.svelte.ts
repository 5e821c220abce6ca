// The current route: the part of the address after #, such as #/runs/01a2?with=01b3.

class Route {
  #hash = $state(location.hash);

  constructor() {
    addEventListener("hashchange", () => (this.#hash = location.hash));
  }

  // The path in parts, such as "runs", "01a2"; empty for the start page.
  readonly path: readonly string[] = $derived(
    this.#hash.replace(/^#\/?/, "").split("?")[0]!.split("/").filter(Boolean).map(decodeURIComponent),
  );

  readonly query: URLSearchParams = $derived(new URLSearchParams(this.#hash.split("?")[1] ?? ""));

  // Goes to an address without a new entry in the history.
  replace(address: string): void {
    history.replaceState(null, "", address);
    this.#hash = location.hash;
  }
}

export const route = new Route();

// The route while it is below `name`, and the last such route afterwards, so that a view that is about to be removed
// does not react to another view's address. Call it while a component is initialised.
export function within(name: string): { readonly path: readonly string[]; readonly query: URLSearchParams } {
  let last = { path: [] as readonly string[], query: new URLSearchParams() };
  const current = $derived.by(() => {
    if ((route.path[0] ?? "") === name) last = { path: route.path, query: route.query };
    return last;
  });
  return {
    get path() {
      return current.path;
    },
    get query() {
      return current.query;
    },
  };
}

// The address of a route, for a link.
export function to(path: string | readonly string[] = [], query: Record<string, string> = {}): string {
  const parts = typeof path === "string" ? [path] : path;
  const search = new URLSearchParams(query).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${search && `?${search}`}`;
}
