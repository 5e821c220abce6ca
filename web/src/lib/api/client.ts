// The server's API, asked with the key where one is needed. A request that is refused for want of a key waits until
// the person has given one, and then goes on.
import { keyring } from "./keyring.svelte";

// What the server said when it did not do what was asked: `message` says what and why.
export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code?: string,
  ) {
    super(message);
  }
}

export interface Asking {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

// The response of the server. Throws Refused, also where the server cannot be reached.
export async function ask(path: string, asking: Asking = {}): Promise<Response> {
  for (;;) {
    const { key } = keyring;
    const response = await sent(path, asking, key);
    if (response.status !== 401) {
      if (!response.ok) throw await refused(response);
      return response;
    }
    await keyring.wanted(key, asking.signal);
  }
}

export async function get<Answer>(path: string, signal?: AbortSignal): Promise<Answer> {
  return (await ask(path, signal ? { signal } : {})).json() as Promise<Answer>;
}

export async function post<Answer>(path: string, body: unknown = {}): Promise<Answer> {
  return (await ask(path, { method: "POST", body })).json() as Promise<Answer>;
}

export async function remove<Answer>(path: string): Promise<Answer> {
  return (await ask(path, { method: "DELETE" })).json() as Promise<Answer>;
}

async function sent(path: string, asking: Asking, key: string): Promise<Response> {
  const headers: Record<string, string> = { ...asking.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (asking.body !== undefined) headers["Content-Type"] = "application/json";
  const body = asking.body === undefined ? null : JSON.stringify(asking.body);
  try {
    return await fetch(path, { method: asking.method ?? "GET", headers, body, signal: asking.signal ?? null });
  } catch (error) {
    if (asking.signal?.aborted) throw error;
    throw new Refused("The server cannot be reached. Is moa serve still running?", 0);
  }
}

async function refused(response: Response): Promise<Refused> {
  try {
    const told = (await response.json()) as { error: { message: string; code?: string | null } | string };
    if (typeof told.error === "string") return new Refused(told.error, response.status);
    return new Refused(told.error.message, response.status, told.error.code ?? undefined);
  } catch {
    return new Refused(`The server answered ${response.status} ${response.statusText}`, response.status);
  }
}
