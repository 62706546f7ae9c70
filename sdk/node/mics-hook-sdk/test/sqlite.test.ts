import { expect, test } from 'vitest';
import { openSqlite } from '../samples/sqlite.mjs';
import type { SqliteOfflineStoreOptions } from '../src/index.js';
import { EventType, MessageRequestCodec, SqliteOfflineStore } from '../src/index.js';
import { eventOf } from './signed.js';

async function setup(options: SqliteOfflineStoreOptions = {}) {
  let now = 1_000_000;
  const store = new SqliteOfflineStore(await openSqlite(':memory:'), { now: () => now, ...options });
  const put = (msgId: string, body = msgId, toUserId = 'u2') => {
    const message = { tenantId: 't1', userId: 'u1', deviceId: 'd1', msgId, toUserId, msgBody: Buffer.from(body) };
    const eventData = MessageRequestCodec.encode(message).finish();
    return store.put(eventOf({ eventType: EventType.OFFLINE_MESSAGE, msgId, toUserId, eventData }));
  };
  const ask = (cursor = '', maxMessages = 100, deviceId = 'd2', userId = 'u2', tenantId = 't1') => {
    const page = store.page(tenantId, { userId, deviceId, maxMessages, cursor });
    const ids = page.messages?.map((m) => MessageRequestCodec.decode(m as Uint8Array).msgId);
    return { ids, hasMore: page.hasMore, nextCursor: page.nextCursor!, reason: page.reason };
  };
  return { store, put, ask, pass: (ms: number) => (now += ms) };
}

test('pages come oldest first and end, and a repeated event is kept once', async () => {
  const { put, ask } = await setup();
  expect(['a', 'b', 'c', 'b', 'd', 'e'].map((id) => put(id))).toEqual([true, true, true, false, true, true]);
  const first = ask('', 2);
  expect(first).toMatchObject({ ids: ['a', 'b'], hasMore: true });
  const second = ask(first.nextCursor, 2);
  expect(second).toMatchObject({ ids: ['c', 'd'], hasMore: true });
  expect(ask(second.nextCursor, 2)).toMatchObject({ ids: ['e'], hasMore: false, nextCursor: '' });
  expect(ask('x')).toMatchObject({ reason: 'invalid cursor' });
});

test('messages are kept per tenant and user, byte for byte', async () => {
  const { store, put, ask } = await setup();
  put('a', 'x', 'u2');
  put('a', 'x', 'u3');
  expect(ask('', 9, 'd', 'u3').ids).toEqual(['a']);
  expect(ask('', 9, 'd', 'u2', 't2').ids).toEqual([]);
  const odd = Buffer.concat([MessageRequestCodec.encode({ msgId: 'odd' }).finish(), Buffer.from([0xc8, 0x3e, 1])]);
  store.put(eventOf({ eventType: EventType.OFFLINE_MESSAGE, msgId: 'odd', toUserId: 'u4', eventData: odd }));
  const [bytes] = store.page('t1', { userId: 'u4', deviceId: 'd', maxMessages: 9, cursor: '' }).messages!;
  expect(Buffer.from(bytes as Uint8Array)).toEqual(odd);
});

test('an answer that was lost is repeated for a while; other devices get their own', async () => {
  const { put, ask, pass } = await setup();
  put('a');
  expect(ask().ids).toEqual(['a']);
  pass(50_000);
  put('b');
  expect(ask().ids).toEqual(['a', 'b']);
  pass(20_000);
  expect(ask().ids).toEqual(['b']);
  pass(60_000);
  expect(ask().ids).toEqual([]);
  expect(ask('', 9, 'tablet').ids).toEqual(['a', 'b']);
});

test('pages are bounded in bytes, and old messages go', async () => {
  const { store, put, ask, pass } = await setup({ maxPageBytes: 100 });
  put('large', 'x'.repeat(500));
  put('a', 'x'.repeat(40));
  put('b', 'x'.repeat(40));
  const first = ask();
  expect(first).toMatchObject({ ids: ['large'], hasMore: true });
  expect(ask(first.nextCursor)).toMatchObject({ ids: ['a'], hasMore: true });
  pass(8 * 24 * 3600 * 1000);
  put('new');
  expect(store.expire()).toBe(3);
  expect(ask('', 9, 'tablet').ids).toEqual(['new']);
});
