// Passages lit up in the text as it stands, without changing an element: the browser's own highlights, by name.

const shown = new Map<string, Map<object, readonly Range[]>>();

// Lights these ranges as `name` (`::highlight(name)` in CSS), instead of those that `owner` lit before.
export function light(name: string, owner: object, ranges: readonly Range[]): void {
  if (!("highlights" in CSS)) return; // an old browser: the cards are still marked
  const owners = shown.get(name) ?? new Map<object, readonly Range[]>();
  if (ranges.length) owners.set(owner, ranges);
  else if (!owners.delete(owner)) return;
  shown.set(name, owners);
  CSS.highlights.set(name, new Highlight(...[...owners.values()].flat()));
}
