// The sentence of the answer that is hovered or focused, and the passages of the proposals that it comes from.
import { get } from "../api/client";
import { paths } from "../api/paths";
import type { Provenance, Source } from "./provenance";

export class SentenceHighlight {
  provenance = $state.raw<Provenance | undefined>();
  // The index of the highlighted sentence.
  index = $state<number | undefined>();

  readonly sentence = $derived(this.index === undefined ? undefined : this.provenance?.sentences[this.index]);

  // Fetches the provenance of a complete run. Without it, nothing can be highlighted.
  async fetch(run: string): Promise<void> {
    try {
      this.provenance = await get<Provenance>(paths.runProvenance(run));
    } catch {
      this.provenance = undefined;
    }
  }

  // The passages of one proposal that the highlighted sentence comes from.
  sources(span: string): Source[] {
    return this.sentence?.sources.filter((source) => this.provenance?.proposals[source.proposal]?.span === span) ?? [];
  }

  share(span: string): number | undefined {
    return this.provenance?.proposals.find((proposal) => proposal.span === span)?.share;
  }
}

const rangesByName = new Map<string, Map<object, readonly Range[]>>();

// Replaces the ranges that `owner` shows as `::highlight(name)`. The CSS Custom Highlight API needs no change to the DOM.
export function setHighlight(name: string, owner: object, ranges: readonly Range[]): void {
  if (!("highlights" in CSS)) return; // in an old browser only the cards are highlighted
  const owners = rangesByName.get(name) ?? new Map<object, readonly Range[]>();
  if (ranges.length) owners.set(owner, ranges);
  else if (!owners.delete(owner)) return;
  rangesByName.set(name, owners);
  CSS.highlights.set(name, new Highlight(...[...owners.values()].flat()));
}
