// Finds passages of a Markdown source in its rendered text. Only letters and digits are compared, in order, because
// rendering may change everything else.

export interface Passage {
  start: number; // in UTF-16 code units of the source
  end: number; // exclusive
}

const LETTER_OR_DIGIT = /[\p{L}\p{N}]/gu;

// Converts offsets in Unicode code points, which Python counts, to offsets in a JavaScript string.
export function codeUnits(text: string): (offset: number) => number {
  const wide: number[] = []; // offsets, in code points, of characters of two code units
  let point = 0;
  for (let unit = 0; unit < text.length; unit += 1, point += 1) {
    if (text.codePointAt(unit)! > 0xffff) {
      wide.push(point);
      unit += 1;
    }
  }
  return (offset) => offset + countBelow(wide, offset);
}

// The letters and digits in the text nodes of an element.
interface Characters {
  nodes: Text[];
  firstOf: number[]; // for each node, the number of its first character
  values: string[];
  offsets: number[]; // for each character, its offset in its node
}

function charactersOf(element: Node): Characters {
  const result: Characters = { nodes: [], firstOf: [], values: [], offsets: [] };
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode() as Text | null; node; node = walker.nextNode() as Text | null) {
    result.nodes.push(node);
    result.firstOf.push(result.values.length);
    for (const match of node.data.matchAll(LETTER_OR_DIGIT)) {
      result.values.push(match[0]);
      result.offsets.push(match.index);
    }
  }
  return result;
}

// For each passage, its ranges in the text nodes below `element`. The passages must be in the order of the source.
export function ranges(element: Node, source: string, passages: readonly Passage[]): Range[][] {
  const characters = charactersOf(element);
  const text = characters.values.join("");
  const numberAt = new Map<number, number>(); // from an offset in `text` to the number of the character
  let unit = 0;
  characters.values.forEach((value, number) => {
    numberAt.set(unit, number);
    unit += value.length;
  });
  let from = 0;
  return passages.map(({ start, end }) => {
    const passage = (source.slice(start, end).match(LETTER_OR_DIGIT) ?? []).join("");
    let index = passage ? text.indexOf(passage, from) : -1;
    if (index < 0 && passage) index = text.indexOf(passage);
    if (index < 0) return [];
    from = index + passage.length;
    const first = numberAt.get(index)!;
    const last = (numberAt.get(from) ?? characters.values.length) - 1;
    return rangesBetween(characters, first, last);
  });
}

// One range per text node, from one character to another, both inclusive.
function rangesBetween({ nodes, firstOf, values, offsets }: Characters, first: number, last: number): Range[] {
  const result: Range[] = [];
  for (let node = countBelow(firstOf, first + 1) - 1; node < nodes.length && firstOf[node]! <= last; node += 1) {
    const to = Math.min(last, (firstOf[node + 1] ?? values.length) - 1);
    const from = Math.max(first, firstOf[node]!);
    if (to < from) continue;
    const range = document.createRange();
    range.setStart(nodes[node]!, offsets[from]!);
    range.setEnd(nodes[node]!, skipPunctuation(nodes[node]!.data, offsets[to]! + values[to]!.length));
    result.push(range);
  }
  return result;
}

// The offset after the punctuation that ends a sentence.
function skipPunctuation(text: string, offset: number): number {
  return offset + (/^[.!?…:;)\]"'»”’。！？]+/u.exec(text.slice(offset))?.[0].length ?? 0);
}

// How many of the numbers, which are in ascending order, are below a value.
function countBelow(numbers: readonly number[], value: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
