import { afterEach, expect, test } from 'vitest';
import type { MicsClientOptions, MicsDelivery } from '../src/index.js';
import { AckStatus, AesGcmMessageCrypto, MicsClient, utf8Decode } from '../src/index.js';
import type { Behaviour } from './gateway.js';
import { accept, ack, chat, FakeGateway, until } from './gateway.js';

const cleanup: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function connected(behaviour: Behaviour = {}, options: Partial<MicsClientOptions> = {}) {
  const gateway = await FakeGateway.start(behaviour);
  cleanup.push(() => gateway.stop());
  const client = new MicsClient({ reconnectMinDelayMs: 1, reconnectMaxDelayMs: 20, ...options });
  cleanup.push(() => client.disconnect());
  const deliveries: MicsDelivery[] = [];
  client.onDeliveryReceived = (delivery) => void deliveries.push(delivery);
  await client.connect({ url: gateway.url, tenantId: 't1', token: 'valid:u1', deviceId: 'd1' });
  const bodies = () => deliveries.map((d) => utf8Decode(d.message.msgBody));
  return { gateway, client, deliveries, bodies };
}

test('a message carries identity, a UUIDv7 and its body, and ends with the ack', async () => {
  const { gateway, client } = await connected();
  const acks: string[] = [];
  client.onAckReceived = (a) => acks.push(a.msgId);
  const result = await client.sendSingleChat({ toUserId: 'u2', msgBody: 'héllo' });
  const group = await client.sendGroupChat({ groupId: 'g', msgBody: new Uint8Array([1]), msgId: 'mine' });
  const [single, second] = gateway.messages;
  expect(single).toMatchObject({ tenantId: 't1', userId: 'u1', deviceId: 'd1', msgType: 0, toUserId: 'u2', groupId: '' });
  expect(utf8Decode(single!.msgBody)).toBe('héllo');
  expect(Math.abs(single!.timestampMs - Date.now())).toBeLessThan(60_000);
  expect(single!.msgId).toMatch(/^[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
  expect(second).toMatchObject({ msgType: 1, groupId: 'g', toUserId: '', msgId: 'mine' });
  expect(result).toMatchObject({ msgId: single!.msgId, status: AckStatus.SENT });
  expect(acks).toEqual([single!.msgId, group.msgId]);
});

test('blank targets and ids are refused', async () => {
  const { client } = await connected();
  for (const bad of [{ toUserId: ' ' }, { toUserId: 'u2', msgId: '' }]) {
    await expect(client.sendSingleChat({ msgBody: 'x', ...bad })).rejects.toMatchObject({ code: 'invalid_argument' });
  }
});

test('FAILED is an outcome, final and with its reason', async () => {
  const { gateway, client } = await connected({
    onMessage: (peer, m) => peer.send({ ack: ack(m.msgId, { status: AckStatus.FAILED, reason: 'denied' }) }),
  });
  const result = await client.sendSingleChat({ toUserId: 'u2', msgBody: 'x' });
  expect(result).toMatchObject({ status: AckStatus.FAILED, reason: 'denied' });
  expect(gateway.messages.length).toBe(1);
});

test('a lost ack is answered by the same message under the same id, and no more than three times', async () => {
  let silent = 2;
  const { gateway, client } = await connected(
    { onMessage: (peer, m) => void (silent-- > 0 || peer.send({ ack: ack(m.msgId, { reason: 'duplicate' }) })) },
    { ackTimeoutMs: 300 },
  );
  const result = await client.sendSingleChat({ toUserId: 'u2', msgBody: 'x' });
  expect(result).toMatchObject({ status: AckStatus.SENT, reason: 'duplicate' });
  expect(gateway.messages.map((m) => m.msgId)).toEqual(Array(3).fill(result.msgId));
  silent = Infinity;
  const late = await client.sendSingleChat({ toUserId: 'u2', msgBody: 'y' });
  expect(late).toMatchObject({ status: AckStatus.FAILED, reason: 'ack timeout' });
  expect(gateway.messages.length).toBe(6);
});

test('a connection lost before the ack: sent again in order, without using up an attempt', async () => {
  const { gateway, client } = await connected(
    { onMessage: (peer, m) => void (gateway.peers.length > 2 && peer.send({ ack: ack(m.msgId) })) },
    { maxSendAttempts: 1 },
  );
  const sends = ['a', 'b', 'c'].map((msgId) => client.sendSingleChat({ toUserId: 'u2', msgBody: msgId, msgId }));
  for (const round of [1, 2]) {
    await until('all three', () => gateway.peers.length === round && gateway.last.messages.length === 3);
    gateway.last.ws.terminate();
  }
  expect((await Promise.all(sends)).map((a) => a.msgId)).toEqual(['a', 'b', 'c']);
  for (const peer of gateway.peers) expect(peer.messages.map((m) => m.msgId)).toEqual(['a', 'b', 'c']);
});

test('sends wait while reconnecting, up to the deadline', async () => {
  const { gateway, client } = await connected({}, { sendDeadlineMs: 2000 });
  gateway.behaviour.onConnect = () => {};
  gateway.last.ws.terminate();
  await until('reconnecting', () => client.getState() === 'reconnecting');
  await expect(client.sendSingleChat({ toUserId: 'u2', msgBody: 'x' })).rejects.toMatchObject({ code: 'send_deadline' });
  const waiting = client.sendSingleChat({ toUserId: 'u2', msgBody: 'y' });
  gateway.behaviour = {};
  gateway.last.ws.close(1011, 'again');
  expect(await waiting).toMatchObject({ status: AckStatus.SENT });
});

test('the number of waiting messages is bounded, and so is what is on the wire', async () => {
  const { gateway, client } = await connected({ onMessage: () => {} }, { sendQueueCapacity: 3, maxInFlight: 2 });
  const sends = [1, 2, 3].map(() => client.sendSingleChat({ toUserId: 'u2', msgBody: 'x' }));
  await expect(client.sendSingleChat({ toUserId: 'u2', msgBody: 'x' })).rejects.toMatchObject({ code: 'queue_full' });
  await until('two on the wire', () => gateway.messages.length === 2);
  gateway.last.send({ ack: ack(gateway.messages[0]!.msgId) });
  await sends[0];
  await until('the third', () => gateway.messages.length === 3);
  await client.disconnect();
  for (const send of sends.slice(1)) await expect(send).rejects.toMatchObject({ code: 'disconnected' });
});

test('an id is in flight once', async () => {
  const { client } = await connected({ onMessage: () => {} });
  void client.sendSingleChat({ toUserId: 'u2', msgBody: 'x', msgId: 'a' }).catch(() => {});
  const again = client.sendSingleChat({ toUserId: 'u2', msgBody: 'x', msgId: 'a' });
  await expect(again).rejects.toMatchObject({ code: 'duplicate_id' });
});

test('frame too large (4401) ends the largest message on the wire', async () => {
  const { client } = await connected({
    onMessage: (peer, m) => {
      if (m.msgBody.length < 9) return;
      peer.send({ error: { code: 4401, message: 'frame too large' } });
      peer.send({ ack: ack('small') });
    },
  });
  const errors: number[] = [];
  client.onServerErrorReceived = (e) => errors.push(e.code);
  const small = client.sendSingleChat({ toUserId: 'u2', msgBody: 'x', msgId: 'small' });
  const large = client.sendSingleChat({ toUserId: 'u2', msgBody: 'x'.repeat(9) });
  expect(await large).toMatchObject({ status: AckStatus.FAILED, reason: 'frame too large' });
  expect(await small).toMatchObject({ status: AckStatus.SENT });
  expect(errors).toEqual([4401]);
});

test('unknown and unreadable frames are passed over', async () => {
  const { gateway, bodies } = await connected();
  gateway.last.ws.send(new Uint8Array([0x9a, 0x06, 0x01, 0x00]));
  gateway.last.ws.send(new Uint8Array([0xff]));
  gateway.last.ws.send('text');
  gateway.last.send({ delivery: { message: chat('1', 'after') } });
  await until('delivery', () => bodies().length === 1);
});

test('deliveries come in order and repeated ones once, across reconnects too', async () => {
  const { gateway, client, bodies } = await connected();
  for (const id of ['1', '2', '1', '3']) gateway.last.send({ delivery: { message: chat(id, `body ${id}`) } });
  gateway.last.send({ delivery: { message: chat('1', 'other content') } });
  gateway.last.send({ delivery: { message: chat('1', 'body 1', { deviceId: 'd9' }) } });
  await until('five', () => bodies().length === 5);
  gateway.last.ws.close(4200, '');
  await until('second session', () => gateway.peers.length === 2 && client.getState() === 'connected');
  for (const id of ['3', '4']) gateway.last.send({ delivery: { message: chat(id, `body ${id}`) } });
  await until('the new one', () => bodies().length === 6);
  expect(bodies()).toEqual(['body 1', 'body 2', 'body 3', 'other content', 'body 1', 'body 4']);
  expect(client.getStats().duplicatesDropped).toBe(2);
});

test('a frame before connect_ack is not lost', async () => {
  const gateway = await FakeGateway.start({
    onConnect: (peer) => {
      peer.send({ delivery: { message: chat('1', 'early') } });
      accept(peer);
    },
  });
  cleanup.push(() => gateway.stop());
  const order: string[] = [];
  const client = new MicsClient({}, {
    onConnected: () => void order.push('connected'),
    onDeliveryReceived: ({ message }) => void order.push(utf8Decode(message.msgBody)),
  });
  cleanup.push(() => client.disconnect());
  await client.connect({ url: gateway.url, tenantId: 't1', token: 'valid:u1', deviceId: 'd1' });
  await until('both', () => order.length === 2);
  expect(order).toEqual(['connected', 'early']);
});

test('a slow application loses deliveries visibly, in place, and may get them again', async () => {
  const { gateway, client } = await connected({}, { deliveryQueueCapacity: 2 });
  const seen: (string | number)[] = [];
  let release = () => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  client.onDeliveryReceived = async ({ message }) => {
    await gate;
    seen.push(message.msgId);
  };
  client.onOverflow = (dropped) => seen.push(dropped);
  for (const id of ['a', 'b', 'c', 'd']) gateway.last.send({ delivery: { message: chat(id, id) } });
  await until('two dropped', () => client.getStats().deliveriesDropped === 2);
  release();
  await until('the loss is told', () => seen.length === 3);
  gateway.last.send({ delivery: { message: chat('c', 'c') } });
  await until('c again', () => seen.length === 4);
  expect(seen).toEqual(['a', 'b', 2, 'c']);
});

test('encrypted bodies: same bytes at every attempt, opened in order, and what cannot be opened is marked', async () => {
  const key = new Uint8Array(32).fill(7);
  const crypto = new AesGcmMessageCrypto(key);
  const { gateway, client, deliveries, bodies } = await connected(
    { onMessage: (peer, m) => void (gateway.messages.length > 1 && peer.send({ ack: ack(m.msgId) })) },
    { messageCrypto: crypto, ackTimeoutMs: 500 },
  );
  const [first, second] = await Promise.all([
    client.sendSingleChat({ toUserId: 'u2', msgBody: 'x'.repeat(100_000), msgId: 'large' }),
    client.sendSingleChat({ toUserId: 'u2', msgBody: 'secret', msgId: 'small' }),
  ]);
  expect([first.status, second.status]).toEqual([0, 0]);
  expect(gateway.messages[0]!.msgId).toBe('large');
  const sent = gateway.messages.filter((m) => m.msgId === 'large').map((m) => m.msgBody);
  expect(sent.length).toBeGreaterThan(1);
  expect(sent[1]).toEqual(sent[0]);

  const bad = new Uint8Array([1, 2, 3]);
  gateway.last.send({ delivery: { message: chat('1', await crypto.encrypt(new Uint8Array(300_000).fill(97))) } });
  gateway.last.send({ delivery: { message: chat('2', bad) } });
  gateway.last.send({ delivery: { message: chat('3', await crypto.encrypt(new TextEncoder().encode('ok'))) } });
  gateway.last.send({ delivery: { message: chat('4', '') } });
  await until('all', () => deliveries.length === 4);
  expect(deliveries.map((d) => d.message.msgId)).toEqual(['1', '2', '3', '4']);
  expect(deliveries.map((d) => d.decryptFailed)).toEqual([false, true, false, false]);
  expect(deliveries[1]!.message.msgBody).toEqual(bad);
  expect(bodies()[2]).toBe('ok');
});

test('a logger that throws stops nothing', async () => {
  const logger = (): never => {
    throw new Error('disk full');
  };
  const messageCrypto = new AesGcmMessageCrypto(new Uint8Array(16));
  const { gateway, deliveries } = await connected({}, { messageCrypto, logger });
  for (const id of ['1', '2']) gateway.last.send({ delivery: { message: chat(id, 'no envelope') } });
  await until('both', () => deliveries.length === 2);
});

test('a body that cannot be encrypted is not sent', async () => {
  const broken = { encrypt: () => Promise.reject(new Error('no key')), decrypt: (b: Uint8Array) => b };
  const { gateway, client } = await connected({}, { messageCrypto: broken });
  await expect(client.sendSingleChat({ toUserId: 'u2', msgBody: 'x' })).rejects.toMatchObject({ code: 'crypto_failed' });
  await client.sendSingleChat({ toUserId: 'u2', msgBody: '' });
  expect(gateway.messages.length).toBe(1);
});
