// Exports a run as a single HTML file that works without a server. It contains no scripts: the sources of a hovered
// sentence are highlighted by CSS rules, one per sentence.
import { totals } from "../trace/summary";
import { question, stages, textOf } from "../trace/shape";
import type { Node } from "../trace/trace";
import type { WatchedRun } from "../trace/watched.svelte";
import { dateTime, dollars, outputTokens, plural, seconds } from "../ui/format";
import { MarkdownWriter } from "../ui/prose";
import { codeUnits, ranges } from "./align";
import style from "./export.css?inline";
import { markSentences, type Provenance } from "./provenance";

// Whatever the texts contain, the file can neither load nor run anything.
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

export function exportHtml(run: WatchedRun, provenance: Provenance | undefined): string {
  const root = run.trace.root!;
  const title = question(root);
  const page = document.implementation.createHTMLDocument(title.slice(0, 120));
  page.documentElement.lang = "en";
  const policy = page.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = POLICY;
  const charset = page.createElement("meta");
  charset.setAttribute("charset", "utf-8");
  const viewport = page.createElement("meta");
  viewport.name = "viewport";
  viewport.content = "width=device-width, initial-scale=1";
  page.head.prepend(charset, policy, viewport);
  page.body.append(
    element("h1", title),
    element("p", facts(run), "muted"),
    ...stages(root).flatMap((stage) => (stage.kind === "layer" ? layer(stage.node, provenance) : [])),
    element("h2", "Answer"),
    answer(run, provenance),
  );
  if (root.error !== undefined) page.body.append(element("p", root.error, "error"));
  if (provenance) page.body.append(element("p", LEGEND, "muted"));
  // The style is added as text, because the policy of the current page does not allow it as an element.
  const styles = `<style>${style}${provenance ? rules(provenance) : ""}</style>`;
  return `<!doctype html>\n${page.documentElement.outerHTML.replace("</head>", () => `${styles}</head>`)}\n`;
}

const LEGEND =
  "Point at a sentence of the answer to see its sources. A dotted underline marks sentences that are not in any " +
  "proposal, a wavy underline sentences that a proposal contradicts. Based on matching wording, which is evidence but " +
  "not proof.";

function facts(run: WatchedRun): string {
  const { trace } = run;
  const used = totals(trace);
  return [
    trace.root!.start.model,
    dateTime(trace.root!.start.started_at ?? 0),
    run.state,
    plural(used.calls, "call"),
    plural(used.input + used.output, "token"),
    dollars(used.cost),
    seconds(trace.time),
    `run ${run.id}`,
  ].join(" · ");
}

function layer(node: Node, provenance: Provenance | undefined): HTMLElement[] {
  const cards = document.createElement("div");
  cards.className = "cards";
  cards.append(...node.children.map((proposal) => card(proposal, provenance)));
  return [element("h2", `Layer ${node.start.layer}`), cards];
}

function card(node: Node, provenance: Provenance | undefined): HTMLElement {
  const { text } = textOf(node);
  const section = document.createElement("section");
  section.className = "card";
  const usage = node.usage && [outputTokens(node.usage, text), dollars(node.usage.cost)];
  const time = node.end && seconds(node.end.time - node.start.time);
  section.append(
    element("h3", node.start.model),
    element("p", [...(usage ?? []), time].filter(Boolean).join(" · "), "muted"),
  );
  if (node.error !== undefined) section.append(element("p", `failed: ${node.error}`, "error"));
  const body = prose(text, "text");
  const index = provenance?.proposals.findIndex((proposal) => proposal.span === node.start.span) ?? -1;
  if (provenance && index >= 0) markPassages(body, text, provenance, index);
  section.append(body);
  return section;
}

function answer(run: WatchedRun, provenance: Provenance | undefined): HTMLElement {
  const body = prose(run.trace.answer, "answer");
  if (!provenance) return body;
  markSentences(body, run.trace.answer, provenance.sentences);
  for (const sentence of body.querySelectorAll<HTMLElement>("[data-sentence]")) sentence.tabIndex = 0;
  return body;
}

function prose(text: string, name: string): HTMLElement {
  const body = document.createElement("div");
  body.className = name;
  body.dir = "auto";
  new MarkdownWriter(body).write(text, true);
  return body;
}

// Wraps the passages of a proposal that sentences come from in elements with the sentences' numbers in `data-of`.
function markPassages(element: HTMLElement, text: string, provenance: Provenance, proposal: number): void {
  const offset = codeUnits(text);
  const passages = provenance.sentences.flatMap((sentence, number) =>
    sentence.sources
      .filter((source) => source.proposal === proposal)
      .map((source) => ({ number, start: offset(source.start), end: offset(source.end) })),
  );
  // Passages may overlap, so the text is cut at each of their ends.
  const borders = [...new Set(passages.flatMap(({ start, end }) => [start, end]))].sort((a, b) => a - b);
  const pieces = borders.slice(1).flatMap((end, index) => {
    const start = borders[index]!;
    const of = passages.filter((passage) => passage.start <= start && passage.end >= end).map(({ number }) => number);
    return of.length ? [{ start, end, of }] : [];
  });
  const found = ranges(element, text, pieces);
  for (let index = found.length - 1; index >= 0; index -= 1) {
    for (const range of found[index]!.reverse()) {
      const span = document.createElement("span");
      span.dataset.of = pieces[index]!.of.join(" ");
      range.surroundContents(span);
    }
  }
}

function rules(provenance: Provenance): string {
  return provenance.sentences
    .map((sentence, number) =>
      sentence.sources.length
        ? `body:has([data-sentence="${number}"]:is(:hover,:focus)) :is([data-of~="${number}"],[data-sentence="${number}"]){background:var(--highlight)}`
        : "",
    )
    .join("\n");
}

function element(name: string, text: string, className = ""): HTMLElement {
  const result = document.createElement(name);
  result.textContent = text;
  if (className) result.className = className;
  return result;
}
