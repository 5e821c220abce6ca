// The sources of the sentences of an answer, as src/moa/provenance/attribution.py finds them, and their marks in the rendered answer.
import type { Provenance } from "../api/schema";
import { codeUnits, ranges } from "./align";

export type { Provenance };
// Offsets are counted in Unicode code points; the end is exclusive.
export type Sentence = Provenance["sentences"][number];
export type Source = Sentence["sources"][number];

export function supporting(sentence: Sentence): Source[] {
  return sentence.sources.filter((source) => source.relation === "supports");
}

export function contradicting(sentence: Sentence): Source[] {
  return sentence.sources.filter((source) => source.relation === "contradicts");
}

// Wraps each sentence of a rendered answer in elements with its number in `data-sentence`.
export function markSentences(element: HTMLElement, answer: string, sentences: readonly Sentence[]): void {
  const offset = codeUnits(answer);
  const passages = sentences.map(({ start, end }) => ({ start: offset(start), end: offset(end) }));
  const found = ranges(element, answer, passages);
  // From the end to the beginning: wrapping a range moves only what comes after it.
  for (let number = found.length - 1; number >= 0; number -= 1) {
    for (const range of found[number]!.reverse()) {
      const span = document.createElement("span");
      span.dataset.sentence = String(number);
      if (sentences[number]!.own && sentences[number]!.kind !== "heading") span.dataset.own = "";
      if (contradicting(sentences[number]!).length) span.dataset.against = "";
      range.surroundContents(span);
    }
  }
}
