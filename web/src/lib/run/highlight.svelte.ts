// What is pointed at: a sentence of the answer, and with it the passages of the proposals that it comes from.
import { get } from "../api/client";
import type { Provenance, Source } from "./provenance";

export class Light {
  provenance = $state.raw<Provenance | undefined>();
  // The place of the sentence that is pointed at.
  at = $state<number | undefined>();

  readonly sentence = $derived(this.at === undefined ? undefined : this.provenance?.sentences[this.at]);

  // The provenance of a run that is over; where there is none, nothing is lit.
  async fetch(run: string): Promise<void> {
    try {
      this.provenance = await get<Provenance>(`/api/runs/${run}/provenance`);
    } catch {
      this.provenance = undefined;
    }
  }

  // What the call of this id has to say to the sentence that is pointed at.
  sources(span: string): Source[] {
    return this.sentence?.sources.filter((one) => this.provenance?.proposals[one.proposal]?.span === span) ?? [];
  }

  share(span: string): number | undefined {
    return this.provenance?.proposals.find((one) => one.span === span)?.share;
  }
}
