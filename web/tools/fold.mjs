// Reads the events of a run as JSON lines from standard input and prints the state of the page's fold, in the form of
// tests/golden.
import { text } from "node:stream/consumers";
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
const { fold } = await server.ssrLoadModule("/src/lib/trace/trace.ts");
const { stateOf } = await server.ssrLoadModule("/test/state.ts");
const lines = (await text(process.stdin)).trimEnd().split("\n");
process.stdout.write(JSON.stringify(stateOf(fold(lines.map((line) => JSON.parse(line))))));
await server.close();
