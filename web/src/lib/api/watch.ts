// Reads the events of a run, live or stored, and resumes where a connection broke off. EventSource cannot be used: it
// cannot send an API key.
import { ApiError, request } from "./client";
import type { Event } from "./events";
import { paths } from "./paths";

export type State = "running" | "answered" | "failed" | "stopped" | "unfinished";

// Events that arrived together; `state` comes with the last batch.
export interface Batch {
  events: Event[];
  state?: State;
}

const RETRY_DELAYS = [500, 1000, 2000, 4000, 8000]; // ms

// Calls `receive` with all events of a run, from the first one, until the run is over. Throws ApiError, for example for
// an unknown run.
export async function watch(run: string, receive: (batch: Batch) => void, signal: AbortSignal): Promise<void> {
  let last = "";
  for (let failures = 0; ; failures += 1) {
    try {
      const headers: Record<string, string> = last ? { "Last-Event-ID": last } : {};
      const response = await request(paths.runEvents(run), { headers, signal });
      for await (const packets of packetsOf(response)) {
        const batch: Batch = { events: [] };
        for (const packet of packets) {
          if (packet.id) last = packet.id;
          if (packet.event === "end") batch.state = (JSON.parse(packet.data) as { state: State }).state;
          else batch.events.push(JSON.parse(packet.data) as Event);
        }
        receive(batch);
        if (batch.state) return;
        failures = 0;
      }
    } catch (error) {
      if (signal.aborted || (error instanceof ApiError && error.status !== 0)) throw error;
      if (failures >= RETRY_DELAYS.length) throw new ApiError("The connection to the server was lost.", 0);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_DELAYS[failures] ?? 8000));
    signal.throwIfAborted();
  }
}

const MAX_BATCH = 400; // packets

interface Packet {
  id: string;
  event: string;
  data: string;
}

// The server-sent events of a response, in batches as they arrive.
async function* packetsOf(response: Response): AsyncGenerator<Packet[]> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const parts: string[] = []; // of the packet that is incomplete
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      parts.push(value);
      const split = (parts.at(-2)?.endsWith("\n") ?? false) && value.startsWith("\n");
      if (!split && !value.includes("\n\n")) continue; // so that a line of megabytes is joined only once
      const text = parts.join("");
      const end = text.lastIndexOf("\n\n");
      parts.length = 0;
      if (end + 2 < text.length) parts.push(text.slice(end + 2));
      const blocks = text.slice(0, end).split("\n\n");
      for (let start = 0; start < blocks.length; start += MAX_BATCH) {
        if (start) await new Promise((resolve) => setTimeout(resolve)); // lets the browser draw frames in between
        yield blocks.slice(start, start + MAX_BATCH).map(parse).filter((packet) => packet.data);
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

const FIELD = /^(id|event|data): ?(.*)$/gm;

function parse(block: string): Packet {
  const packet = { id: "", event: "message", data: "" };
  for (const [, field, value] of block.matchAll(FIELD)) packet[field as keyof Packet] = value!;
  return packet;
}
