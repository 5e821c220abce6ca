// Builds the page into the Python package. The development server forwards the API to a running `moa serve`.
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, loadEnv } from "vite";

const server = loadEnv("", ".", "MOA_").MOA_SERVER ?? "http://127.0.0.1:8000";

export default defineConfig({
  base: "/ui/",
  plugins: [svelte()],
  build: {
    outDir: "../src/moa/web",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the content security policy does not allow data: URLs
    chunkSizeWarningLimit: 200,
  },
  server: { proxy: { "/api": server, "/v1": server } },
});
