// Where the sentences of an answer come from, as src/moa/provenance.py gives it, and their marks in what is shown of it.
import { ranges, units } from "./align";
import type { Provenance } from "../api/schema";

export type { Provenance };
// Places are counted in Unicode code points, the end not counted in.
export type Sentence = Provenance["sentences"][number];
export type Source = Sentence["sources"][number];

export function supports(sentence: Sentence): Source[] {
  return sentence.sources.filter((one) => one.relation === "supports");
}

export function contradicts(sentence: Sentence): Source[] {
  return sentence.sources.filter((one) => one.relation === "contradicts");
}

// Puts each sentence of a rendered answer into elements of its own, which `data-sentence` numbers.
export function markSentences(shown: HTMLElement, answer: string, sentences: readonly Sentence[]): void {
  const place = units(answer);
  const found = ranges(shown, answer, sentences.map((one) => ({ start: place(one.start), end: place(one.end) })));
  // From the end to the beginning: what is put around a range moves only what comes after it.
  for (let number = found.length - 1; number >= 0; number -= 1) {
    for (const range of found[number]!.reverse()) {
      const span = document.createElement("span");
      span.dataset.sentence = String(number);
      if (sentences[number]!.own && sentences[number]!.kind !== "heading") span.dataset.own = "";
      if (contradicts(sentences[number]!).length) span.dataset.against = "";
      range.surroundContents(span);
    }
  }
}
