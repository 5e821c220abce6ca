// Converts Markdown to safe elements. The output of models is not trusted: HTML is shown as text, images become links,
// and the result passes through a sanitiser with a short list of allowed elements.
import DOMPurify from "dompurify";
import { Marked, type Token, type TokensList } from "marked";

const HARMLESS = /^<\/?(?:br|sub|sup|kbd|b|i|u|s|em|strong|mark|small)\s*\/?>$/i;
const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character]!);
}

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text, block }) => {
      const html = HARMLESS.test(text.trim()) ? text : escapeHtml(text);
      return block ? `<p>${html}</p>` : html;
    },
    image: ({ href, text }) => `<a href="${escapeHtml(href)}">image: ${escapeHtml(text || href)}</a>`,
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

export function lex(text: string): TokensList {
  return marked.lexer(text);
}

export function render(tokens: Token[] | TokensList): DocumentFragment {
  return purify.sanitize(marked.parser(tokens as TokensList), ALLOWED);
}
