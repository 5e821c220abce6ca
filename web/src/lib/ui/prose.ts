// Markdown written into an element while it is still being said: blocks that are complete are left alone, the last one is
// written again. So a long answer costs no more in a frame than its last block.
import { lexed, rendered } from "./markdown";

// Of a text longer than this the Markdown is not read: no answer is, and reading it would take seconds.
const MOST = 400_000;

// The text as far as a page can hold it, with word of the rest.
export function held(text: string): string {
  const more = text.length - MOST;
  return more > 0 ? `${text.slice(0, MOST)}… (${more.toLocaleString("en")} characters more, which the saved events hold)` : text;
}

export class Writing {
  #settled = 0; // characters of the text whose elements stand for good
  #firm = 0; // so many children of the element are theirs
  #text = "";

  constructor(private readonly element: HTMLElement) {}

  // Shows the text, all that there is of it so far; `whole` says that no more will come.
  show(text: string, whole: boolean): void {
    if (!text.startsWith(this.#text)) this.#settled = this.#firm = 0;
    this.#text = text;
    if (text.length > MOST) return this.#plain(text);
    // A link may be named at the end of a text and meant at its beginning, so the whole is then read at once.
    if (whole && this.#settled && /^ {0,3}\[[^\]]+\]:\s/m.test(text)) this.#settled = this.#firm = 0;
    const tokens = lexed(text.slice(this.#settled));
    const last = tokens.findLastIndex((token) => token.type !== "space");
    const firm = tokens.slice(0, whole ? tokens.length : Math.max(0, last));
    while (this.element.childNodes.length > this.#firm) this.element.lastChild!.remove();
    if (firm.length) this.element.append(rendered(firm));
    this.#firm = this.element.childNodes.length;
    for (const token of firm) this.#settled += token.raw.length;
    if (firm.length < tokens.length) this.element.append(rendered(tokens.slice(firm.length)));
  }

  #plain(text: string): void {
    const told = document.createElement("p");
    told.textContent = held(text);
    this.element.replaceChildren(told);
    this.#settled = this.#firm = 0;
  }
}
