// The events of a run as the server sends them, live or stored, taken up where they broke off. Not an EventSource:
// that cannot present a key.
import type { Event } from "./events";
import { ask, Refused } from "./client";

export type State = "running" | "answered" | "failed" | "stopped" | "unfinished";

// Everything there is to hear at a moment, together; `state` comes with the last of it.
export interface Heard {
  events: Event[];
  state?: State;
}

const PATIENCE = [500, 1000, 2000, 4000, 8000];

// Tells `hear` the events of a run, from its first one, until it is over. Throws Refused, such as for an unknown run.
export async function watch(run: string, hear: (heard: Heard) => void, signal: AbortSignal): Promise<void> {
  let last = "";
  for (let failures = 0; ; failures += 1) {
    try {
      const headers: Record<string, string> = last ? { "Last-Event-ID": last } : {};
      const response = await ask(`/api/runs/${run}/events`, { headers, signal });
      for await (const packets of blocks(response)) {
        const heard: Heard = { events: [] };
        for (const packet of packets) {
          if (packet.id) last = packet.id;
          if (packet.event === "end") heard.state = (JSON.parse(packet.data) as { state: State }).state;
          else heard.events.push(JSON.parse(packet.data) as Event);
        }
        hear(heard);
        if (heard.state) return;
        failures = 0;
      }
    } catch (error) {
      if (signal.aborted || (error instanceof Refused && error.status !== 0)) throw error;
      if (failures >= PATIENCE.length) throw new Refused("The connection to the server was lost.", 0);
    }
    await new Promise((resolve) => setTimeout(resolve, PATIENCE[failures] ?? 8000));
    signal.throwIfAborted();
  }
}

// So many events are read at a time at most, however many have come.
const SLICE = 400;

interface Packet {
  id: string;
  event: string;
  data: string;
}

// The server-sent events of a body, as many at a time as have come.
async function* blocks(response: Response): AsyncGenerator<Packet[]> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const parts: string[] = []; // what has come of the event that is not complete
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      parts.push(value);
      const seam = (parts.at(-2)?.endsWith("\n") ?? false) && value.startsWith("\n");
      if (!seam && !value.includes("\n\n")) continue; // so that a line of megabytes is joined once
      const text = parts.join("");
      const end = text.lastIndexOf("\n\n");
      parts.length = 0;
      if (end + 2 < text.length) parts.push(text.slice(end + 2));
      const told = text.slice(0, end).split("\n\n");
      for (let place = 0; place < told.length; place += SLICE) {
        if (place) await new Promise((resolve) => setTimeout(resolve)); // so that frames are drawn between
        yield told.slice(place, place + SLICE).map(packet).filter((one) => one.data);
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

const FIELD = /^(id|event|data): ?(.*)$/gm;

function packet(block: string): Packet {
  const told = { id: "", event: "message", data: "" };
  for (const [, field, value] of block.matchAll(FIELD)) told[field as keyof Packet] = value!;
  return told;
}
