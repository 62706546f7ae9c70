import { afterEach, expect, test, vi } from 'vitest';
import type { MicsClientOptions } from '../src/index.js';
import { MicsClient, MicsError } from '../src/index.js';
import type { Behaviour } from './gateway.js';
import { accept, FakeGateway, until } from './gateway.js';

const cleanup: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function setup(behaviour: Behaviour = {}, options: Partial<MicsClientOptions> = {}) {
  const gateway = await FakeGateway.start(behaviour);
  cleanup.push(() => gateway.stop());
  const client = new MicsClient({ reconnectMinDelayMs: 1, reconnectMaxDelayMs: 20, ...options });
  cleanup.push(() => client.disconnect());
  const states: string[] = [];
  const closed: { code: number; reconnecting: boolean }[] = [];
  client.onStateChanged = (state) => states.push(state);
  client.onClosed = ({ code, reconnecting }) => closed.push({ code, reconnecting });
  const params = { url: gateway.url, tenantId: 't1', token: 'valid:u1', deviceId: 'my dev+&=' };
  return { gateway, client, states, closed, params };
}

test('a session is what connect_ack says, and the identity goes into the query', async () => {
  const { gateway, client, states, params } = await setup();
  const session = await client.connect({ ...params, url: `${gateway.url}?a=1&TOKEN=old#x` });
  expect(session).toEqual({ tenantId: 't1', userId: 'u1', deviceId: 'my dev+&=', nodeId: 'node-1', traceId: 'trace' });
  expect([...gateway.last.query.keys()]).toEqual(['a', 'tenantId', 'token', 'deviceId']);
  expect(client.getState()).toBe('connected');
  await expect(client.connect(params)).rejects.toMatchObject({ code: 'invalid_argument' });
  await client.disconnect();
  expect(states).toEqual(['connecting', 'connected', 'disposing', 'disconnected']);
});

test('a refused first attempt is the caller\'s, and nothing goes on in the background', async () => {
  const { gateway, client, params } = await setup({ onConnect: ({ ws }) => ws.close(4001, 'bad token') });
  const error = await client.connect(params).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(MicsError);
  expect(error).toMatchObject({ code: 'closed', closeCode: 4001, closeReason: 'bad token' });
  expect(client.getState()).toBe('disconnected');
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(gateway.peers.length).toBe(1);
  gateway.behaviour = {};
  await client.connect(params);
});

test('no connect_ack, another code and a dead address end connect()', async () => {
  const silent = await setup({ onConnect: () => {} }, { connectTimeoutMs: 50 });
  await expect(silent.client.connect(silent.params)).rejects.toMatchObject({ code: 'connect_timeout' });
  await until('the socket is closed', () => silent.gateway.last.ws.readyState === 3);
  const refused = await setup({ onConnect: (peer) => accept(peer, 4002) });
  await expect(refused.client.connect(refused.params)).rejects.toMatchObject({ code: 'connect_refused', closeCode: 4002 });
  const gone = await setup();
  await gone.gateway.stop();
  cleanup.splice(cleanup.length - 2, 1);
  await expect(gone.client.connect(gone.params)).rejects.toMatchObject({ code: 'closed', closeCode: 1006 });
  await expect(gone.client.connect({ ...gone.params, url: 'http://h/ws' })).rejects.toMatchObject({ code: 'invalid_argument' });
  expect(gone.client.getState()).toBe('disconnected');
});

test('after a drain (4200) the client comes back with a fresh token', async () => {
  const { gateway, client, states, closed, params } = await setup();
  let asked = 0;
  await client.connect({ ...params, token: async () => `valid:u${++asked}` });
  gateway.last.ws.close(4200, 'server draining');
  await until('second session', () => gateway.peers.length === 2 && client.getState() === 'connected');
  expect(client.getSession()?.userId).toBe('u2');
  expect(closed).toEqual([{ code: 4200, reconnecting: true }]);
  expect(states).toEqual(['connecting', 'connected', 'reconnecting', 'connected']);
  expect(client.getStats().reconnects).toBe(1);
});

test('it comes back after the server died, and goes on while the token provider fails', async () => {
  const { gateway, client, params } = await setup();
  let asked = 0;
  const token = () => (++asked === 2 ? Promise.reject(new Error('no network')) : 'valid:u1');
  await client.connect({ ...params, token });
  gateway.last.ws.terminate();
  await until('second session', () => gateway.peers.length === 2 && client.getState() === 'connected');
  expect(asked).toBe(3);
});

test.each([1002, 1007, 4001, 4002, 4409, 4410])('close code %i is final', async (code) => {
  const { gateway, client, closed, params } = await setup();
  await client.connect(params);
  const pending = client.sendSingleChat({ toUserId: 'u2', msgBody: 'x' });
  const outcome = pending.catch((e: unknown) => e);
  await pending.catch(() => {});
  gateway.last.ws.close(code, 'over');
  await until('disconnected', () => client.getState() === 'disconnected');
  await outcome;
  expect(closed).toEqual([{ code, reconnecting: false }]);
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(gateway.peers.length).toBe(1);
  await expect(client.sendSingleChat({ toUserId: 'u2', msgBody: 'x' })).rejects.toMatchObject({ code: 'disconnected' });
});

test('a terminal code during a reconnect ends it; a token that could not be checked does not', async () => {
  const { gateway, client, closed, params } = await setup();
  await client.connect(params);
  gateway.behaviour.onConnect = ({ ws }, count) =>
    count === 2 ? ws.close(4001, 'hook timeout/failure') : ws.close(4001, 'token expired');
  gateway.last.ws.terminate();
  await until('disconnected', () => client.getState() === 'disconnected');
  expect(gateway.peers.length).toBe(3);
  expect(closed).toEqual([
    { code: 1006, reconnecting: true },
    { code: 4001, reconnecting: false },
  ]);
});

test('a limit (4429) means a long pause', async () => {
  const { gateway, client, params } = await setup({}, { limitedDelayMs: 400 });
  await client.connect(params);
  const since = Date.now();
  gateway.last.ws.close(4429, 'rate limited');
  await until('second session', () => gateway.peers.length === 2);
  expect(Date.now() - since).toBeGreaterThanOrEqual(190);
});

test('a server that freezes is given up and the client connects anew', async () => {
  const { gateway, client, closed, params } = await setup(
    { pong: false },
    { heartbeatIntervalMs: 40, watchdogSlackMs: 20 },
  );
  await client.connect(params);
  await until('second session', () => gateway.peers.length >= 2);
  expect(gateway.peers[0]!.pings).toBeGreaterThan(0);
  expect(closed[0]).toEqual({ code: 1006, reconnecting: true });
  await until('the frozen socket is dropped', () => gateway.peers[0]!.ws.readyState === 3);
});

test('pongs keep a quiet connection', async () => {
  const { gateway, client, closed, params } = await setup({}, { heartbeatIntervalMs: 20, watchdogSlackMs: 10_000 });
  await client.connect(params);
  await until('beats', () => gateway.last.pings > 5);
  expect(closed).toEqual([]);
  expect(client.getStats().heartbeatsSent).toBeGreaterThan(5);
});

test('disconnect() stays disconnected, whenever it comes', async () => {
  const { gateway, client, params } = await setup({}, { reconnectMinDelayMs: 500, reconnectMaxDelayMs: 500 });
  // The pause before a reconnect is 450 ms.
  vi.spyOn(Math, 'random').mockReturnValue(0.9);
  cleanup.push(async () => vi.restoreAllMocks());
  const codes: number[] = [];
  gateway.behaviour.onConnect = (peer) => {
    peer.ws.on('close', (code) => codes.push(code));
    accept(peer);
  };
  await client.connect(params);
  await Promise.all([client.disconnect(), client.disconnect()]);
  await until('closed with our code', () => codes[0] === 1000);
  // In the pause before a reconnect.
  await client.connect(params);
  gateway.last.ws.terminate();
  await until('reconnecting', () => client.getState() === 'reconnecting');
  await client.disconnect();
  // During an attempt.
  gateway.behaviour.onConnect = () => {};
  const attempt = client.connect(params);
  const outcome = expect(attempt).rejects.toMatchObject({ code: 'disconnected' });
  await until('third socket', () => gateway.peers.length === 3);
  await client.disconnect();
  await outcome;
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(client.getState()).toBe('disconnected');
  expect(gateway.peers.length).toBe(3);
});

test('disconnect() from inside callbacks is final too', async () => {
  const { gateway, client, params } = await setup();
  client.onClosed = () => void client.disconnect();
  await client.connect(params);
  gateway.last.ws.terminate();
  await until('disconnected', () => client.getState() === 'disconnected');
  client.onConnected = () => void client.disconnect();
  await expect(client.connect(params)).rejects.toMatchObject({ code: 'disconnected' });
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(client.getState()).toBe('disconnected');
  expect(gateway.peers.length).toBe(2);
});

test('a callback that throws breaks nothing, and is logged', async () => {
  const logged: string[] = [];
  const { client, params } = await setup({}, { logger: (_, message) => logged.push(message) });
  client.onConnected = () => {
    throw new Error('mine');
  };
  await client.connect(params);
  expect(client.getState()).toBe('connected');
  expect(logged).toContain('a callback failed');
});

test('the log never holds the token', async () => {
  const logged: unknown[] = [];
  const { gateway, client, params } = await setup({}, { logger: (...line) => logged.push(line) });
  await client.connect({ ...params, token: 'valid:very-secret' });
  gateway.last.ws.terminate();
  await until('second session', () => gateway.peers.length === 2 && client.getState() === 'connected');
  expect(logged.length).toBeGreaterThan(2);
  expect(JSON.stringify(logged)).not.toContain('very-secret');
});
