import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { api, ApiError, request } from './client';
import { token, usable } from './token';

let asked: { url: string; init: RequestInit }[];
const answer = (response: () => Response | Promise<Response>) =>
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    asked.push({ url, init });
    return response();
  });

beforeEach(() => {
  asked = [];
  const kept = new Map<string, string>();
  vi.stubGlobal('sessionStorage', {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
    removeItem: (key: string) => kept.delete(key),
  });
});
afterEach(() => vi.unstubAllGlobals());

test('ids are escaped, the token is in the header alone', async () => {
  token.set('secret');
  answer(() => Response.json({ closed: 1, complete: true, nodes: [] }));
  await api.kick('t1', 'a/../b ü?#%', 'd');
  expect(asked[0]?.url).toBe('/admin/v1/tenants/t1/users/a%2F..%2Fb%20%C3%BC%3F%23%25/kick');
  expect(new Headers(asked[0]?.init.headers).get('authorization')).toBe('Bearer secret');
  expect(asked[0]?.init.body).toBe('{"device":"d"}');
});

test('kicking all devices names none', async () => {
  answer(() => Response.json({}));
  await api.kick('t1', 'u');
  expect(asked[0]?.init.body).toBe('{}');
  expect(new Headers(asked[0]?.init.headers).has('authorization')).toBe(false);
});

test('a no has its code, also when it is not JSON', async () => {
  answer(() => Response.json({ error: { code: 'unknown_tenant', message: 'no such' } }, { status: 404 }));
  await expect(api.tenant('x')).rejects.toMatchObject({ status: 404, code: 'unknown_tenant', message: 'no such' });
  answer(() => new Response('<html>', { status: 502 }));
  await expect(api.tenant('x')).rejects.toMatchObject({ status: 502, code: 'http_error' });
});

test('a node that is not there is an error of its own; who has stopped waiting gets an abort', async () => {
  answer(() => Promise.reject(new TypeError('failed to fetch')));
  await expect(api.drain()).rejects.toEqual(new ApiError(0, 'unreachable', 'This node does not answer.'));
  const stop = new AbortController();
  stop.abort();
  answer(() => Promise.reject(stop.signal.reason as Error));
  await expect(request('/overview/stream', { signal: stop.signal })).rejects.toMatchObject({ name: 'AbortError' });
});

test('only what a header can carry is a token', () => {
  expect(['x', 'a b', '~!#'].every(usable)).toBe(true);
  expect(['', ' x', 'x\n', 'ü', 'a\tb'].some(usable)).toBe(false);
});
