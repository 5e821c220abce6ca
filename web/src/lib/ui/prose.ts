// Renders Markdown that is still being streamed. Complete blocks are left alone and only the last one is rendered again,
// so a frame of a long answer costs no more than its last block.
import { lex, render } from "./markdown";

// Longer texts are not parsed as Markdown, which would take seconds.
const MAX_LENGTH = 400_000;

// The text, shortened to what a page can hold.
export function truncate(text: string): string {
  const more = text.length - MAX_LENGTH;
  if (more <= 0) return text;
  return `${text.slice(0, MAX_LENGTH)}… (${more.toLocaleString("en")} more characters in the downloaded events)`;
}

export class MarkdownWriter {
  #settled = 0; // length of the text that is rendered for good
  #settledNodes = 0; // number of child nodes for that text
  #text = "";

  constructor(private readonly element: HTMLElement) {}

  // Renders all of the text so far. `complete` means that no more will follow.
  write(text: string, complete: boolean): void {
    if (!text.startsWith(this.#text)) this.#settled = this.#settledNodes = 0;
    this.#text = text;
    if (text.length > MAX_LENGTH) return this.#writePlain(text);
    // Link definitions at the end may belong to references at the beginning, so the whole text is parsed again.
    if (complete && this.#settled && /^ {0,3}\[[^\]]+\]:\s/m.test(text)) this.#settled = this.#settledNodes = 0;
    const tokens = lex(text.slice(this.#settled));
    const last = tokens.findLastIndex((token) => token.type !== "space");
    const final = tokens.slice(0, complete ? tokens.length : Math.max(0, last));
    while (this.element.childNodes.length > this.#settledNodes) this.element.lastChild!.remove();
    if (final.length) this.element.append(render(final));
    this.#settledNodes = this.element.childNodes.length;
    for (const token of final) this.#settled += token.raw.length;
    if (final.length < tokens.length) this.element.append(render(tokens.slice(final.length)));
  }

  #writePlain(text: string): void {
    const paragraph = document.createElement("p");
    paragraph.textContent = truncate(text);
    this.element.replaceChildren(paragraph);
    this.#settled = this.#settledNodes = 0;
  }
}
