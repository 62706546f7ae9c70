// The page's codec against the frame vectors of the wire contract. Needs nothing but node.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeServerFrame, encodeClientFrame } from '../../src/dev/page/codec.js';

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (frame) => Buffer.from(frame).toString('hex');

const NO_ACK_COUNTS = {
  partial_delivery: false, offline_notified_users: 0, offline_buffered_users: 0, offline_skipped_users: 0,
};
const MESSAGE = {
  tenant_id: 't1', user_id: 'u1', device_id: 'dev1', msg_id: 'm-1', msg_type: 0, to_user_id: 'u2', group_id: '',
  msg_body: Uint8Array.of(1, 2, 3), timestamp_ms: 1770000000000,
};

const CLIENT_VECTORS = [
  ['message', { message: MESSAGE }, '0a230a027431120275311a046465763122036d2d313202753242030102034880c8e2e1c133'],
  ['heartbeat_ping', { heartbeat_ping: { timestamp_ms: 1770000000000 } }, '12070880c8e2e1c133'],
  ['heartbeat_ping ts=0', { heartbeat_ping: { timestamp_ms: 0 } }, '1200'],
];
for (const [name, frame, expected] of CLIENT_VECTORS) {
  test(`encodes ClientFrame ${name}`, () => assert.equal(hex(encodeClientFrame(frame)), expected));
}

const SERVER_VECTORS = [
  ['connect_ack',
    '0a3b08e807120274311a0275312204646576312a066e6f64652d3132206665646362613938373635343332313066656463626139383736353433323130',
    { type: 'connect_ack', fields: { code: 1000, tenant_id: 't1', user_id: 'u1', device_id: 'dev1', node_id: 'node-1', trace_id: 'fedcba9876543210fedcba9876543210' } }],
  ['delivery', '12250a230a027431120275311a046465763122036d2d313202753242030102034880c8e2e1c133',
    { type: 'delivery', fields: { message: MESSAGE } }],
  ['ack SENT', '1a0c0a036d2d3118c8c9e2e1c133',
    { type: 'ack', fields: { msg_id: 'm-1', status: 0, timestamp_ms: 1770000000200, reason: '', ...NO_ACK_COUNTS } }],
  ['ack FAILED', '1a220a036d2d31100118c8c9e2e1c13322126d697373696e6720746f5f757365725f6964',
    { type: 'ack', fields: { msg_id: 'm-1', status: 1, timestamp_ms: 1770000000200, reason: 'missing to_user_id', ...NO_ACK_COUNTS } }],
  ['ack group partial', '1a120a036d2d3218c8c9e2e1c133280138024003',
    { type: 'ack', fields: { msg_id: 'm-2', status: 0, timestamp_ms: 1770000000200, reason: '', partial_delivery: true, offline_notified_users: 0, offline_buffered_users: 2, offline_skipped_users: 3 } }],
  ['error 4400', '221508b0221210696e76616c69642070726f746f627566',
    { type: 'error', fields: { code: 4400, message: 'invalid protobuf' } }],
  ['error 4401', '221408b122120f6672616d6520746f6f206c61726765',
    { type: 'error', fields: { code: 4401, message: 'frame too large' } }],
  ['heartbeat_pong', '2a0708c8c9e2e1c133', { type: 'heartbeat_pong', fields: { timestamp_ms: 1770000000200 } }],
  ['with no payload', '', { type: '', fields: {} }],
];
for (const [name, frame, expected] of SERVER_VECTORS) {
  test(`decodes ServerFrame ${name}`, () => assert.deepEqual(decodeServerFrame(bytes(frame)), expected));
}

test('skips unknown fields of every wire type, nested groups too', () => {
  const unknown = 'a00601' + 'a1060102030405060708' + 'a2060141' + 'a50601020304' + 'a306' + 'b306' + 'b406' + '0a0141' + 'a406';
  const body = bytes('08c8c9e2e1c133' + unknown);
  const frame = Uint8Array.of(0x2a, body.length, ...body);
  assert.deepEqual(decodeServerFrame(frame), { type: 'heartbeat_pong', fields: { timestamp_ms: 1770000000200 } });
  assert.deepEqual(decodeServerFrame(Uint8Array.of(...bytes(unknown), ...frame)).type, 'heartbeat_pong');
});

test('an unknown payload has no type', () => assert.deepEqual(decodeServerFrame(bytes('a2060141')), { type: '', fields: {} }));

test('the last member of the oneof wins', () => {
  assert.equal(decodeServerFrame(bytes('2a00' + '2200')).type, 'error');
  assert.equal(decodeServerFrame(bytes('2a00' + '2200' + '2a00')).type, 'heartbeat_pong');
});

test('a known field with a foreign wire type is skipped', () => {
  assert.deepEqual(decodeServerFrame(bytes('2a020a00')).fields, { timestamp_ms: 0 });
});

test('every cut of a frame is refused or read as a shorter one, never as other values', () => {
  const whole = bytes(SERVER_VECTORS[3][1]);
  for (let end = 1; end < whole.length; end++) {
    assert.throws(() => decodeServerFrame(whole.subarray(0, end)), RangeError, `cut at ${end}`);
  }
});

test('integers: negative, largest safe, beyond safe', () => {
  const ping = (ms) => encodeClientFrame({ heartbeat_ping: { timestamp_ms: ms } });
  const pong = (frame) => decodeServerFrame(Uint8Array.of(0x2a, ...frame.subarray(1))).fields.timestamp_ms;
  for (const ms of [1, -1, 127, 128, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
    assert.equal(pong(ping(ms)), ms);
  }
  assert.throws(() => ping(2 ** 53), RangeError);
  assert.throws(() => ping(1.5), RangeError);
  assert.equal(pong(bytes('120a08ffffffffffffffff7f')), Number(2n ** 63n - 1n));
  assert.throws(() => decodeServerFrame(bytes('2a0c08ffffffffffffffffffff01')), RangeError);
});

test('text survives: other scripts, emoji, a leading byte order mark', () => {
  const text = '\uFEFFgrüß 消息 🦀';
  const sent = encodeClientFrame({ message: { msg_id: text } });
  assert.equal(decodeServerFrame(Uint8Array.of(0x12, sent.length, ...sent)).fields.message.msg_id, text);
});
