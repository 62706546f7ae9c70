import { afterEach, expect, test } from 'vitest';
import type { Behaviour } from '../../../ts/test/gateway.js';
import { accept, ack, chat, FakeGateway, until } from '../../../ts/test/gateway.js';
import { hex, message, unhex, vectors } from '../../../ts/test/vectors.js';
import type * as Sdk from '../src/index.js';
import { makeWx } from './fake_wx.mjs';
import { loadSdk } from './sandbox.mjs';

const cleanup: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function setup(behaviour: Behaviour = {}, options: Partial<Sdk.MicsClientOptions> = {}, encrypted = false) {
  const wx: any = makeWx();
  const sdk = loadSdk(wx) as typeof Sdk;
  const gateway = await FakeGateway.start(behaviour);
  cleanup.push(() => gateway.stop());
  const messageCrypto = encrypted ? new sdk.AesGcmMessageCrypto(new Uint8Array(32)) : undefined;
  const client = new sdk.MicsClient({ reconnectMinDelayMs: 1, reconnectMaxDelayMs: 20, messageCrypto, ...options });
  cleanup.push(() => client.disconnect());
  const closed: { code: number; reconnecting: boolean }[] = [];
  client.onClosed = ({ code, reconnecting }) => closed.push({ code, reconnecting });
  const deliveries: Sdk.MicsDelivery[] = [];
  client.onDeliveryReceived = (delivery) => void deliveries.push(delivery);
  const params = { url: gateway.url, tenantId: 't1', token: 'valid:u1', deviceId: '手机 1' };
  return { wx, sdk, gateway, client, closed, deliveries, params };
}

test('connect, send, receive and leave with nothing but wx', async () => {
  const { wx, sdk, gateway, client, deliveries, params } = await setup();
  const session = await client.connect(params);
  expect(session.deviceId).toBe('手机 1');
  const result = await client.sendSingleChat({ toUserId: 'u2', msgBody: '你好😀' });
  expect(result.status).toBe(sdk.AckStatus.SENT);
  expect(Buffer.from(gateway.messages[0]!.msgBody).toString()).toBe('你好😀');
  expect(result.msgId).toMatch(/^[0-9a-f]{12}7[0-9a-f]{19}$/);
  gateway.last.send({ delivery: { message: chat('1', '好') } });
  await until('delivery', () => deliveries.length === 1);
  expect(sdk.utf8Decode(deliveries[0]!.message.msgBody)).toBe('好');
  await client.disconnect();
  expect(client.getState()).toBe('disconnected');
  await until('the socket is gone', () => wx.open.size === 0);
});

test('a drain is followed by a reconnect, a terminal code is not', async () => {
  const { gateway, client, closed, params } = await setup();
  let asked = 0;
  await client.connect({ ...params, token: async () => `valid:u${++asked}` });
  gateway.last.ws.close(4200, 'server draining');
  await until('second session', () => gateway.peers.length === 2 && client.getState() === 'connected');
  expect(client.getSession()?.userId).toBe('u2');
  gateway.last.ws.close(4409, 'replaced');
  await until('disconnected', () => client.getState() === 'disconnected');
  expect(closed).toEqual([
    { code: 4200, reconnecting: true },
    { code: 4409, reconnecting: false },
  ]);
});

test('a lost ack is repeated under the same id', async () => {
  const { gateway, client, params } = await setup(
    { onMessage: (peer, m) => void (gateway.messages.length > 1 && peer.send({ ack: ack(m.msgId) })) },
    { ackTimeoutMs: 500 },
  );
  await client.connect(params);
  const result = await client.sendGroupChat({ groupId: 'g', msgBody: 'x' });
  expect(gateway.messages.map((m) => m.msgId)).toEqual([result.msgId, result.msgId]);
});

test('a frozen server is given up, and no socket is left over', async () => {
  const { wx, gateway, client, params } = await setup({ pong: false }, { heartbeatIntervalMs: 40, watchdogSlackMs: 20 });
  await client.connect(params);
  await until('third session', () => gateway.peers.length >= 3);
  await client.disconnect();
  await until('all sockets gone', () => wx.open.size === 0);
});

test('refusals and dead addresses end connect() and leave nothing behind', async () => {
  const { wx, gateway, client, params } = await setup({ onConnect: ({ ws }) => ws.close(4002, 'invalid tenant') });
  await expect(client.connect(params)).rejects.toMatchObject({ code: 'closed', closeCode: 4002 });
  gateway.behaviour = { onConnect: (peer) => accept(peer) };
  await expect(client.connect({ ...params, url: 'ws://127.0.0.1:1/ws' })).rejects.toMatchObject({ closeCode: 1006 });
  await until('no socket', () => wx.open.size === 0);
  const others = [1, 2, 3, 4, 5].map(() => wx.connectSocket({ url: `${gateway.url}?token=x&deviceId=y&tenantId=t1` }));
  await expect(client.connect(params)).rejects.toMatchObject({ closeReason: expect.stringContaining('exceed max') });
  for (const task of others) task.onOpen(() => task.close());
  await until('no socket', () => wx.open.size === 0);
  await client.connect(params);
});

test('disconnect() in the middle of an attempt is final', async () => {
  const { wx, gateway, client, params } = await setup({ onConnect: () => {} });
  const outcome = expect(client.connect(params)).rejects.toMatchObject({ code: 'disconnected' });
  await until('socket', () => gateway.peers.length === 1);
  await client.disconnect();
  await outcome;
  await until('no socket', () => wx.open.size === 0);
  expect(gateway.peers.length).toBe(1);
});

test('bodies are encrypted with nonces of wx.getRandomValues, and not at all without it', async () => {
  const { wx, gateway, client, deliveries, params } = await setup({}, {}, true);
  await client.connect(params);
  for (const text of ['a', 'b']) await client.sendSingleChat({ toUserId: 'u2', msgBody: text });
  const [first, second] = gateway.messages.map((m) => hex(m.msgBody.slice(1, 13)));
  expect(first).not.toBe(second);
  expect(first).not.toBe('00'.repeat(12));
  for (const m of gateway.messages.slice()) gateway.last.send({ delivery: { message: m } });
  await until('both', () => deliveries.length === 2);
  expect(deliveries.map((d) => Buffer.from(d.message.msgBody).toString())).toEqual(['a', 'b']);
  wx.broken = true;
  await expect(client.sendSingleChat({ toUserId: 'u2', msgBody: 'c' })).rejects.toMatchObject({ code: 'crypto_failed' });
  expect(gateway.messages.length).toBe(2);
});

test('a socketFactory of one\'s own is used', async () => {
  const { wx, sdk, gateway, params } = await setup();
  const urls: string[] = [];
  const client = new sdk.MicsClient({}, { socketFactory: (url) => (urls.push(url), wx.connectSocket({ url })) });
  cleanup.push(() => client.disconnect());
  await client.connect(params);
  expect(urls).toEqual([`${gateway.url}?tenantId=t1&token=valid%3Au1&deviceId=%E6%89%8B%E6%9C%BA%201`]);
});

test('the shared vectors: frames, envelopes, close codes', async () => {
  const sdk = loadSdk(makeWx()) as typeof Sdk;
  for (const v of vectors('frames').vectors.filter((v: any) => v.payload)) {
    const codec: any = v.type === 'ClientFrame' ? sdk.ClientFrameCodec : sdk.ServerFrameCodec;
    const payload = v.payload.replace(/_([a-z])/g, (_: string, letter: string) => letter.toUpperCase());
    expect(hex(codec.encode({ [payload]: message(v.fields) }).finish()), v.name).toBe(v.hex);
    expect(hex(codec.encode(codec.decode(unhex(v.hex))).finish()), v.name).toBe(v.hex);
  }
  const { vectors: envelopes, rejected } = vectors('envelopes');
  for (const v of envelopes) {
    const crypto = new sdk.AesGcmMessageCrypto(unhex(v.key_hex), () => unhex(v.nonce_hex));
    expect(hex(await crypto.encrypt(unhex(v.plaintext_hex))), v.name).toBe(v.envelope_hex);
    expect(hex(await crypto.decrypt(unhex(v.envelope_hex))), v.name).toBe(v.plaintext_hex);
  }
  for (const v of rejected) {
    const refused = new sdk.AesGcmMessageCrypto(unhex(v.key_hex)).decrypt(unhex(v.envelope_hex)).then(() => v.name, () => 'refused');
    expect(await refused).toBe('refused');
  }
  for (const { code, reason, client } of vectors('close-codes').close) {
    expect(sdk.closeAction(code, reason ?? 'anything'), code).toBe(client);
  }
});
