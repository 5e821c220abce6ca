// Where the sentences of an answer come from, as src/moa/provenance.py gives it, and their marks in what is shown of it.
import { ranges, units } from "./align";

// Places are counted in Unicode code points, the end not counted in.
export interface Source {
  proposal: number;
  relation: "supports" | "contradicts";
  strength: number;
  start: number;
  end: number;
  why: string | null;
}

export interface Sentence {
  start: number;
  end: number;
  kind: "prose" | "heading" | "row" | "code";
  own: boolean;
  sources: Source[];
  lacks: number[];
}

export interface Provenance {
  proposals: { model: string; span: string | null; share: number }[];
  own: number;
  sentences: Sentence[];
}

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
