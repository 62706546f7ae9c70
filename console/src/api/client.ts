// Calls of the admin API of the node that served this page.

import { token } from './token';
import type { Draining, Kicked, Presence, TenantDetail } from './types';

const BASE = '/admin/v1';
const TIMEOUT_MS = 15_000;

/** The API said no, or was not reached (`status` 0, code `unreachable`). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    /** Stable; docs/errors.md. */
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export const isUnauthorized = (error: unknown): boolean => error instanceof ApiError && error.status === 401;

/** A response that says yes. Throws {@link ApiError}; an abort of `signal` is thrown as it is. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const shown = token.get();
  if (shown) headers.set('authorization', `Bearer ${shown}`);
  let response: Response;
  try {
    response = await fetch(BASE + path, { ...init, headers, cache: 'no-store', credentials: 'omit', redirect: 'error' });
  } catch (error) {
    if (init.signal?.aborted && (init.signal.reason as Error)?.name === 'AbortError') throw error;
    throw new ApiError(0, 'unreachable', 'This node does not answer.');
  }
  if (response.ok) return response;
  throw await problem(response);
}

async function problem(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => null)) as { error?: { code?: string; message?: string } } | null;
  const { code = 'http_error', message = `HTTP status ${response.status}` } = body?.error ?? {};
  return new ApiError(response.status, code, message);
}

async function json<T>(path: string, init?: RequestInit): Promise<T> {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  const signal = init?.signal ? AbortSignal.any([init.signal, limit]) : limit;
  return (await request(path, { ...init, signal })).json() as Promise<T>;
}

function post<T>(path: string, body?: object): Promise<T> {
  if (!body) return json(path, { method: 'POST' });
  return json(path, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
}

const ofTenant = (tenant: string) => `/tenants/${encodeURIComponent(tenant)}`;
const ofUser = (tenant: string, user: string) => `${ofTenant(tenant)}/users/${encodeURIComponent(user)}`;

export const api = {
  tenant: (tenant: string, signal?: AbortSignal) => json<TenantDetail>(ofTenant(tenant), { signal }),
  presence: (tenant: string, user: string, signal?: AbortSignal) => json<Presence>(ofUser(tenant, user), { signal }),
  /** Without a device all of the user's connections are closed. */
  kick: (tenant: string, user: string, device?: string) =>
    post<Kicked>(`${ofUser(tenant, user)}/kick`, device === undefined ? {} : { device }),
  /** Of the node that served this page. */
  drain: () => post<Draining>('/drain'),
};
