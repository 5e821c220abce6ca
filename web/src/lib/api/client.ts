// HTTP client for the server's API. It sends the API key if there is one. A request that is answered with 401 waits
// until the user has entered a key, and is then sent again.
import { keyring } from "./keyring.svelte";

// A request that failed: an error response, or with status 0, no response at all.
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code?: string,
  ) {
    super(message);
  }

  // Any caught value as an ApiError. `message` is used for errors that are not the API's.
  static from(error: unknown, message = String(error)): ApiError {
    return error instanceof ApiError ? error : new ApiError(message, 0);
  }
}

export interface RequestOptions {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

// Throws ApiError for an error response and if the server cannot be reached; an abort throws the signal's reason.
export async function request(path: string, options: RequestOptions = {}): Promise<Response> {
  for (;;) {
    const { key } = keyring;
    const response = await send(path, options, key);
    if (response.status !== 401) {
      if (!response.ok) throw await errorOf(response);
      return response;
    }
    await keyring.keyOtherThan(key, options.signal);
  }
}

export async function get<Body>(path: string, signal?: AbortSignal): Promise<Body> {
  return (await request(path, signal ? { signal } : {})).json() as Promise<Body>;
}

export async function post<Body>(path: string, body: unknown = {}): Promise<Body> {
  return (await request(path, { method: "POST", body })).json() as Promise<Body>;
}

export async function remove<Body>(path: string): Promise<Body> {
  return (await request(path, { method: "DELETE" })).json() as Promise<Body>;
}

async function send(path: string, options: RequestOptions, key: string): Promise<Response> {
  const headers: Record<string, string> = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  const body = options.body === undefined ? null : JSON.stringify(options.body);
  try {
    return await fetch(path, { method: options.method ?? "GET", headers, body, signal: options.signal ?? null });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError("The server cannot be reached. Is moa serve still running?", 0);
  }
}

async function errorOf(response: Response): Promise<ApiError> {
  try {
    const { error } = (await response.json()) as { error: { message: string; code?: string | null } | string };
    if (typeof error === "string") return new ApiError(error, response.status);
    return new ApiError(error.message, response.status, error.code ?? undefined);
  } catch {
    return new ApiError(`The server answered ${response.status} ${response.statusText}`, response.status);
  }
}
