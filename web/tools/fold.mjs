// Events of a run as JSON lines on standard input; what the page's fold tells of it, as tests/golden has it, on standard
// output.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const server = await createServer({
  root,
  configFile: false,
  logLevel: "error",
  appType: "custom",
  server: { middlewareMode: true, hmr: false, ws: false, watch: null },
  optimizeDeps: { noDiscovery: true },
});
const { folded } = await server.ssrLoadModule("/src/lib/trace/trace.ts");
const { stands } = await server.ssrLoadModule("/test/state.ts");
const lines = readFileSync(0, "utf-8").trimEnd().split("\n");
process.stdout.write(JSON.stringify(stands(folded(lines.map((line) => JSON.parse(line))))));
await server.close();
