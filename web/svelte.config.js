// What svelte-check reads; the build takes it from vite.config.ts.
import { vitePreprocess } from "@sveltejs/vite-plugin-svelte";

export default { preprocess: vitePreprocess() };
