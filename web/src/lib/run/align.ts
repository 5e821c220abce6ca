// Finds passages of a Markdown source in what is shown of it. Only letters and digits are compared, in their order: what
// Markdown adds or takes away is neither.

export interface Passage {
  start: number; // in UTF-16 units of the source, the end not counted in
  end: number;
}

const SIGN = /[\p{L}\p{N}]/gu;

// The place in JavaScript's string of a place counted in Unicode code points, as Python counts.
export function units(text: string): (place: number) => number {
  const wide: number[] = []; // places, in code points, of characters that take two units
  let point = 0;
  for (let unit = 0; unit < text.length; unit += 1, point += 1) {
    if (text.codePointAt(unit)! > 0xffff) {
      wide.push(point);
      unit += 1;
    }
  }
  return (place) => place + lower(wide, place);
}

// Ranges in the text nodes below `shown`, one list for each passage; the passages are in their order in the source.
export function ranges(shown: Node, source: string, passages: readonly Passage[]): Range[][] {
  const nodes: Text[] = [];
  const begins: number[] = []; // how many signs stand before each of these nodes
  const places: number[] = []; // of each sign, its place in its node
  const walker = document.createTreeWalker(shown, NodeFilter.SHOW_TEXT);
  const signs: string[] = [];
  for (let node = walker.nextNode() as Text | null; node; node = walker.nextNode() as Text | null) {
    nodes.push(node);
    begins.push(places.length);
    for (const match of node.data.matchAll(SIGN)) {
      signs.push(match[0]);
      places.push(match.index);
    }
  }
  const text = signs.join("");
  const offsets = new Map<number, number>(); // from a place in `text` to the number of the sign
  let unit = 0;
  signs.forEach((sign, number) => {
    offsets.set(unit, number);
    unit += sign.length;
  });
  let from = 0;
  return passages.map(({ start, end }) => {
    const wanted = (source.slice(start, end).match(SIGN) ?? []).join("");
    let found = wanted ? text.indexOf(wanted, from) : -1;
    if (found < 0 && wanted) found = text.indexOf(wanted);
    if (found < 0) return [];
    from = found + wanted.length;
    const first = offsets.get(found)!;
    const last = offsets.get(from) === undefined ? signs.length - 1 : offsets.get(from)! - 1;
    return between(nodes, begins, places, signs, first, last);
  });
}

function between(
  nodes: readonly Text[],
  begins: readonly number[],
  places: readonly number[],
  signs: readonly string[],
  first: number,
  last: number,
): Range[] {
  const told: Range[] = [];
  for (let node = lower(begins, first + 1) - 1; node < nodes.length && begins[node]! <= last; node += 1) {
    const to = Math.min(last, (begins[node + 1] ?? signs.length) - 1);
    const begin = Math.max(first, begins[node]!);
    if (to < begin) continue;
    const range = document.createRange();
    range.setStart(nodes[node]!, places[begin]!);
    range.setEnd(nodes[node]!, ending(nodes[node]!.data, places[to]! + signs[to]!.length));
    told.push(range);
  }
  return told;
}

// With the full stop, or whatever ends a sentence.
function ending(text: string, place: number): number {
  return place + (/^[.!?…:;)\]"'»”’。！？]+/u.exec(text.slice(place))?.[0].length ?? 0);
}

// How many of the numbers, which rise, are below a value.
function lower(rising: readonly number[], value: number): number {
  let low = 0;
  let high = rising.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rising[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
