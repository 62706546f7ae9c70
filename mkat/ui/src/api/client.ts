// One way to call the API: JSON in and out, the session cookie, errors with code and messages by field.
import { base } from '../lib/base';

/** What is wrong, by field: PascalCase keys with indexes; "" holds rules across fields. */
export type Details = Record<string, string[]>;

export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly details: Details | null;

  constructor(status: number, code: string, message: string, details: Details | null = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }

  /** The server is older than the page: it does not know this path at all. */
  get isMissingEndpoint(): boolean {
    return this.status === 404 && this.code === 'NOT_FOUND';
  }
}

let signedOut: () => void = () => {};

/** Called whenever the server says that nobody is signed in. */
export function onSignedOut(action: () => void): void {
  signedOut = action;
}

export type Query = Record<string, string | number | boolean | undefined>;

export function url(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') search.set(name, String(value));
  }
  const text = search.toString();
  return `${base}/api/v1${path}${text && `?${text}`}`;
}

/** Sent with everything: other sites cannot set it, and it asks for no browser dialog on 401. */
export const PAGE_HEADER = { 'X-Mkat-Csrf': '1' };

export async function errorOf(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => null)) as { error?: string; code?: string; details?: Details } | null;
  const message = body?.error ?? `the server answered ${response.status}`;
  return new ApiError(response.status, body?.code ?? 'UNKNOWN', message, body?.details ?? null);
}

async function call<T>(method: string, path: string, options: { body?: unknown; query?: Query; signal?: AbortSignal } = {}): Promise<T> {
  const headers: Record<string, string> = { ...PAGE_HEADER };
  if (options.body !== undefined) headers['Content-Type'] = 'application/json';
  let response: Response;
  try {
    response = await fetch(url(path, options.query), {
      method,
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal,
      credentials: 'same-origin',
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, 'UNREACHABLE', 'the server cannot be reached');
  }
  if (response.ok) return (response.status === 204 ? null : await response.json()) as T;
  const error = await errorOf(response);
  if (response.status === 401 && !(method === 'POST' && path === '/session')) signedOut();
  throw error;
}

export const api = {
  get: <T>(path: string, query?: Query, signal?: AbortSignal) => call<T>('GET', path, { query, signal }),
  post: <T>(path: string, body?: unknown) => call<T>('POST', path, { body }),
  put: <T>(path: string, body: unknown) => call<T>('PUT', path, { body }),
  delete: (path: string) => call<null>('DELETE', path),
};
