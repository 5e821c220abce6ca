// The views of the page. Each is loaded when it is first shown; README.md describes how to add one.
import type { Component } from "svelte";

export interface View {
  // The first part of the address; "" is the start page.
  path: string;
  title: string;
  // Whether it is in the navigation at the top.
  inNavigation: boolean;
  load: () => Promise<{ default: Component }>;
}

export const views: readonly View[] = [
  { path: "", title: "Ask", inNavigation: true, load: () => import("./Ask.svelte") },
  { path: "runs", title: "Runs", inNavigation: true, load: () => import("./Runs.svelte") },
  { path: "mixtures", title: "Mixtures", inNavigation: true, load: () => import("./Mixtures.svelte") },
  { path: "stats", title: "Stats", inNavigation: true, load: () => import("./Stats.svelte") },
  { path: "answer", title: "Answer", inNavigation: false, load: () => import("./Answer.svelte") },
];
