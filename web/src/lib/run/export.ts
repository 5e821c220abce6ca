// A run as one file of HTML that opens anywhere, without this server or any other. It has no script: the sources of a
// sentence that is pointed at are lit by style rules, one for each sentence.
import { ranges, units } from "./align";
import style from "./export.css?inline";
import { asked, stages, words } from "../trace/shape";
import { spent } from "../trace/summary";
import type { Node } from "../trace/trace";
import type { Watched } from "../trace/watched.svelte";
import { dollars, seconds, several, when, written } from "../ui/format";
import { Writing } from "../ui/prose";
import { markSentences, type Provenance } from "./provenance";

// Nothing may be fetched or run by it, whatever its texts say.
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

export function page(run: Watched, provenance: Provenance | undefined): string {
  const root = run.trace.root!;
  const question = asked(root);
  const told = document.implementation.createHTMLDocument(question.slice(0, 120));
  told.documentElement.lang = "en";
  const policy = told.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = POLICY;
  const charset = told.createElement("meta");
  charset.setAttribute("charset", "utf-8");
  const width = told.createElement("meta");
  width.name = "viewport";
  width.content = "width=device-width, initial-scale=1";
  told.head.prepend(charset, policy, width);
  told.body.append(
    element("h1", question),
    element("p", facts(run), "muted"),
    ...stages(root).flatMap((stage) => (stage.kind === "layer" ? layer(stage.node, provenance) : [])),
    element("h2", "Answer"),
    answer(run, provenance),
  );
  if (root.error !== undefined) told.body.append(element("p", root.error, "lost"));
  if (provenance) told.body.append(element("p", LEGEND, "muted"));
  // Only now the style, as text: the policy of this page would not let it be an element here.
  const styles = `<style>${style}${provenance ? rules(provenance) : ""}</style>`;
  return `<!doctype html>\n${told.documentElement.outerHTML.replace("</head>", () => `${styles}</head>`)}\n`;
}

const LEGEND =
  "Point at a sentence of the answer to see where it comes from. What is underlined with dots comes from no proposal; " +
  "what is underlined with waves, a proposal contradicts. This is read off the words: same words are evidence, no proof.";

function facts(run: Watched): string {
  const { trace } = run;
  const used = spent(trace);
  return [
    trace.root!.start.model,
    when(trace.root!.start.started_at ?? 0),
    run.state,
    several(used.calls, "call"),
    several(used.input + used.output, "token"),
    dollars(used.cost),
    seconds(trace.time),
    `run ${run.run}`,
  ].join(" · ");
}

function layer(node: Node, provenance: Provenance | undefined): HTMLElement[] {
  const cards = document.createElement("div");
  cards.className = "cards";
  cards.append(...node.children.map((proposal) => card(proposal, provenance)));
  return [element("h2", `Layer ${node.start.layer}`), cards];
}

function card(node: Node, provenance: Provenance | undefined): HTMLElement {
  const said = words(node).text;
  const told = document.createElement("section");
  told.className = "card";
  const used = node.usage && [written(node.usage, said), dollars(node.usage.cost)];
  const time = node.end && seconds(node.end.time - node.start.time);
  told.append(
    element("h3", node.start.model),
    element("p", [...(used ?? []), time].filter(Boolean).join(" · "), "muted"),
  );
  if (node.error !== undefined) told.append(element("p", `lost: ${node.error}`, "lost"));
  const text = prose(said, "text");
  const place = provenance?.proposals.findIndex((one) => one.span === node.start.span) ?? -1;
  if (provenance && place >= 0) markPassages(text, said, provenance, place);
  told.append(text);
  return told;
}

function answer(run: Watched, provenance: Provenance | undefined): HTMLElement {
  const told = prose(run.trace.answer, "answer");
  if (!provenance) return told;
  markSentences(told, run.trace.answer, provenance.sentences);
  for (const sentence of told.querySelectorAll<HTMLElement>("[data-sentence]")) sentence.tabIndex = 0;
  return told;
}

function prose(text: string, name: string): HTMLElement {
  const told = document.createElement("div");
  told.className = name;
  told.dir = "auto";
  new Writing(told).show(text, true);
  return told;
}

// Puts the passages of a proposal that sentences come from into elements, which `data-of` gives the sentences' numbers.
function markPassages(shown: HTMLElement, text: string, provenance: Provenance, proposal: number): void {
  const place = units(text);
  const passages = provenance.sentences.flatMap((sentence, number) =>
    sentence.sources
      .filter((one) => one.proposal === proposal)
      .map((one) => ({ number, start: place(one.start), end: place(one.end) })),
  );
  const borders = [...new Set(passages.flatMap((one) => [one.start, one.end]))].sort((a, b) => a - b);
  const pieces = borders.slice(1).flatMap((end, at) => {
    const start = borders[at]!;
    const of = passages.filter((one) => one.start <= start && one.end >= end).map((one) => one.number);
    return of.length ? [{ start, end, of }] : [];
  });
  const found = ranges(shown, text, pieces);
  for (let at = found.length - 1; at >= 0; at -= 1) {
    for (const range of found[at]!.reverse()) {
      const mark = document.createElement("span");
      mark.dataset.of = pieces[at]!.of.join(" ");
      range.surroundContents(mark);
    }
  }
}

function rules(provenance: Provenance): string {
  return provenance.sentences
    .map((sentence, number) =>
      sentence.sources.length
        ? `body:has([data-sentence="${number}"]:is(:hover,:focus)) :is([data-of~="${number}"],[data-sentence="${number}"]){background:var(--lit)}`
        : "",
    )
    .join("\n");
}

function element(name: string, text: string, className = ""): HTMLElement {
  const told = document.createElement(name);
  told.textContent = text;
  if (className) told.className = className;
  return told;
}
