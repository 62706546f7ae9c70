import { expect, test } from 'vitest';
import { Backoff } from '../src/backoff.js';
import { Dedup } from '../src/dedup.js';
import * as messages from '../src/messages.js';
import { MicsClientOptions } from '../src/options.js';
import { connectUrl } from '../src/url.js';
import { uuidv7 } from '../src/uuid.js';
import { utf8Decode, utf8Encode, WireError } from '../src/wire.js';
import { chat } from './gateway.js';
import { protoTables, protoType, sdkTables } from './proto.js';
import { hex, unhex } from './vectors.js';

test('the field tables are those of mics_message.proto', () => {
  const proto = protoTables('mics.message.v1');
  expect(Object.keys(proto)).toContain('ServerFrame');
  expect(sdkTables(messages, Object.keys(proto))).toEqual(proto);
});

test('an independent codec reads and writes the same bytes', () => {
  const Type = protoType('mics.message.v1.MessageRequest');
  const odd = ['', 'ascii', 'é你😀', '\u0000'];
  for (const [i, text] of odd.entries()) {
    const request = chat(`m${i}`, text, { toUserId: text, msgType: [0, 1, 2 ** 31 - 1, -1][i]!, timestampMs: [0, -5, 2 ** 53 - 1, -(2 ** 40)][i]! });
    const bytes = messages.MessageRequestCodec.encode(request).finish();
    const other = Type.toObject(Type.decode(bytes), { longs: Number, defaults: true });
    expect({ ...other, msgBody: hex(other['msgBody']) }).toEqual({ ...request, msgBody: hex(request.msgBody) });
    expect(hex(Type.encode(Type.fromObject(request)).finish())).toBe(hex(bytes));
    expect(messages.MessageRequestCodec.decode(bytes)).toEqual(request);
  }
});

test('unknown fields are skipped, cut-off and senseless bytes refused', () => {
  const { decode } = messages.MessageAckCodec;
  const ack = '0a036d2d3118c8c9e2e1c133';
  expect(decode(unhex(`a206020102${ack}a90600000000000000009d060000000098067f`))).toEqual(decode(unhex(ack)));
  for (const bad of ['0a', '0a05', '0aff', '00', '0b', 'ffffffffffffffffffffff', '0a02c328', '9d0600', '18']) {
    expect(() => decode(unhex(bad)), bad).toThrow(WireError);
  }
});

test('text is UTF-8, strictly', () => {
  for (const text of ['', 'a', 'é', '你', '😀', 'a\u0000b']) {
    expect(hex(utf8Encode(text))).toBe(Buffer.from(text).toString('hex'));
    expect(utf8Decode(utf8Encode(text))).toBe(text);
  }
  expect(hex(utf8Encode('\ud800'))).toBe('efbfbd');
  for (const bad of ['80', 'c080', 'c3', 'e08080', 'eda080', 'f08080', 'f4908080', 'f5808080']) {
    expect(() => utf8Decode(unhex(bad)), bad).toThrow(WireError);
  }
});

test('ids are unique and sorted by time', () => {
  const ids = Array.from({ length: 10_000 }, () => uuidv7());
  expect(new Set(ids).size).toBe(ids.length);
  expect(uuidv7(1) < uuidv7(2)).toBe(true);
});

test('pauses are fully jittered and bounded', () => {
  const options = MicsClientOptions.default();
  for (let attempt = 0; attempt < 12; attempt++) {
    const ceiling = Math.min(200 * 2 ** attempt, 5000);
    for (const random of [0, 0.5, 0.999]) {
      const backoff = new Backoff(options, () => random);
      let pause = 0;
      for (let i = 0; i <= attempt; i++) pause = backoff.next('retry');
      expect(pause).toBeCloseTo(ceiling * random);
    }
  }
  const limited = new Backoff(options, () => 0);
  expect(Array.from({ length: 6 }, () => limited.next('retry_later'))).toEqual([2500, 5000, 10000, 20000, 30000, 30000]);
});

test('remembered deliveries are bounded; blank ids and a zero window never match', () => {
  const dedup = new Dedup(2);
  const [a, b, c] = ['a', 'b', 'c'].map((id) => dedup.key(chat(id, 'x')));
  for (const key of [a, b, c]) dedup.add(key);
  expect([a, b, c].map((key) => dedup.has(key))).toEqual([false, true, true]);
  expect(dedup.key(chat('', 'x'))).toBeUndefined();
  expect(new Dedup(0).key(chat('a', 'x'))).toBeUndefined();
});

test('only WebSocket addresses are taken', () => {
  expect(connectUrl('wss://h:1/p?x=%20&tenantid=old', 't', 'a b+', 'd')).toBe('wss://h:1/p?x=%20&tenantId=t&token=a%20b%2B&deviceId=d');
  for (const bad of ['', 'localhost:8080/ws', 'http://h/ws', '/ws', 'ws://']) {
    expect(() => connectUrl(bad, 't', 'k', 'd'), bad).toThrow('ws://');
  }
});

test('options that make no sense are refused', () => {
  expect(MicsClientOptions.default({ ackTimeoutMs: 1 }).ackTimeoutMs).toBe(1);
  for (const bad of [{ ackTimeoutMs: 0 }, { maxSendAttempts: NaN }, { dedupWindow: -1 }]) {
    expect(() => MicsClientOptions.default(bad)).toThrow(Object.keys(bad)[0]);
  }
});
