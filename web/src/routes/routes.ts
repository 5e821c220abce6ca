// The views of the page. Each is loaded when it is first looked at; README.md says how one is added.
import type { Component } from "svelte";

export interface View {
  // The first part of the address: "" is the start.
  place: string;
  title: string;
  // Whether it is one of those that are always offered at the top.
  offered: boolean;
  load: () => Promise<{ default: Component }>;
}

export const views: readonly View[] = [
  { place: "", title: "Ask", offered: true, load: () => import("./Ask.svelte") },
  { place: "runs", title: "Runs", offered: true, load: () => import("./Runs.svelte") },
  { place: "mixtures", title: "Mixtures", offered: true, load: () => import("./Mixtures.svelte") },
  { place: "numbers", title: "Numbers", offered: true, load: () => import("./Stats.svelte") },
  { place: "answer", title: "Answer", offered: false, load: () => import("./Answer.svelte") },
];
