// Markdown into elements that are safe to show, whoever wrote it. What models say is not trusted: HTML in it is shown as
// the text it is, images as links, and what is left goes through a sanitiser that knows a short list of elements.
import DOMPurify from "dompurify";
import { Marked, type Token, type TokensList } from "marked";

const HARMLESS = /^<\/?(?:br|sub|sup|kbd|b|i|u|s|em|strong|mark|small)\s*\/?>$/i;
const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character]!);
}

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text, block }) => {
      const shown = HARMLESS.test(text.trim()) ? text : escaped(text);
      return block ? `<p>${shown}</p>` : shown;
    },
    image: ({ href, text }) => `<a href="${escaped(href)}">image: ${escaped(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    heading({ tokens, depth }) {
      const level = Math.min(6, Math.max(3, depth + 1)); // below the headings of the page
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
  },
});

const purify = DOMPurify(window);
purify.addHook("afterSanitizeAttributes", (element) => {
  if (element instanceof HTMLAnchorElement && element.hasAttribute("href")) {
    element.target = "_blank";
    element.rel = "noopener noreferrer nofollow";
  }
});

const ALLOWED = {
  ALLOWED_TAGS: [
    ..."p br hr h3 h4 h5 h6 ul ol li blockquote pre code em strong del a table thead tbody tr th td".split(" "),
    ..."sub sup kbd b i u s mark small".split(" "),
  ],
  ALLOWED_ATTR: ["href", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true as const,
};

export function lexed(text: string): TokensList {
  return marked.lexer(text);
}

export function rendered(tokens: Token[] | TokensList): DocumentFragment {
  return purify.sanitize(marked.parser(tokens as TokensList), ALLOWED);
}
