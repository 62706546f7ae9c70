// The wire format of proto/Protos/mics_message.proto for the browser: field tables and the few lines that walk them.
// It must not know the page, the socket or the meaning of a field. Names are those of the .proto.
//
// Values: string -> string, bytes -> Uint8Array, bool -> boolean, all numbers -> Number. An int64 beyond
// Number.MAX_SAFE_INTEGER is refused when encoding and rounded when decoding (a foreign clock must not break the page).

const MESSAGE_REQUEST = {
  1: ['tenant_id', 'string'],
  2: ['user_id', 'string'],
  3: ['device_id', 'string'],
  4: ['msg_id', 'string'],
  5: ['msg_type', 'int32'],
  6: ['to_user_id', 'string'],
  7: ['group_id', 'string'],
  8: ['msg_body', 'bytes'],
  9: ['timestamp_ms', 'int64'],
};
const MESSAGE_ACK = {
  1: ['msg_id', 'string'],
  2: ['status', 'int32'],
  3: ['timestamp_ms', 'int64'],
  4: ['reason', 'string'],
  5: ['partial_delivery', 'bool'],
  6: ['offline_notified_users', 'uint32'],
  7: ['offline_buffered_users', 'uint32'],
  8: ['offline_skipped_users', 'uint32'],
};
const CONNECT_ACK = {
  1: ['code', 'int32'],
  2: ['tenant_id', 'string'],
  3: ['user_id', 'string'],
  4: ['device_id', 'string'],
  5: ['node_id', 'string'],
  6: ['trace_id', 'string'],
};
const SERVER_ERROR = { 1: ['code', 'int32'], 2: ['message', 'string'] };
const HEARTBEAT = { 1: ['timestamp_ms', 'int64'] };
const DELIVERY = { 1: ['message', MESSAGE_REQUEST] };
const CLIENT_FRAME = { 1: ['message', MESSAGE_REQUEST], 2: ['heartbeat_ping', HEARTBEAT] };
const SERVER_FRAME = {
  1: ['connect_ack', CONNECT_ACK],
  2: ['delivery', DELIVERY],
  3: ['ack', MESSAGE_ACK],
  4: ['error', SERVER_ERROR],
  5: ['heartbeat_pong', HEARTBEAT],
};

export const SINGLE_CHAT = 0;
export const GROUP_CHAT = 1;
export const SENT = 0;
export const FAILED = 1;

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const START_GROUP = 3;
const END_GROUP = 4;
const FIXED32 = 5;
const DEFAULTS = { string: '', bytes: new Uint8Array(0), bool: false, int32: 0, uint32: 0, int64: 0 };
const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder('utf-8', { ignoreBOM: true }); // the default would swallow a leading U+FEFF

/** Bytes of a ClientFrame, `{message: {...}}` or `{heartbeat_ping: {...}}`. Throws RangeError on unsafe integers. */
export function encodeClientFrame(frame) {
  return Uint8Array.from(encode(CLIENT_FRAME, frame));
}

/**
 * A ServerFrame as `{type, fields}`, for example `{type: 'ack', fields: {msg_id, status, ...}}`. Fields absent from
 * the wire have their default, unknown ones are skipped; `type` is '' for an empty or unknown payload.
 * Throws RangeError on malformed bytes.
 */
export function decodeServerFrame(bytes) {
  const fields = decode(SERVER_FRAME, { bytes, at: 0, end: bytes.length });
  const type = Object.keys(fields).pop() ?? '';
  return { type, fields: fields[type] ?? {} };
}

// Canonical proto3: ascending field numbers (the order of integer keys), defaults omitted, sub-messages always written.
function encode(table, value) {
  const out = [];
  for (const [number, [name, kind]] of Object.entries(table)) {
    if (value[name] === undefined || value[name] === DEFAULTS[kind]) continue;
    if (kind === 'string' || kind === 'bytes' || typeof kind === 'object') {
      const body = typeof kind === 'object' ? encode(kind, value[name]) : kind === 'string' ? utf8.encode(value[name]) : value[name];
      if (kind === 'bytes' && body.length === 0) continue;
      writeVarint(out, Number(number) * 8 + LENGTH);
      writeVarint(out, body.length);
      for (const byte of body) out.push(byte);
    } else {
      writeVarint(out, Number(number) * 8 + VARINT);
      writeVarint(out, Number(value[name]));
    }
  }
  return out;
}

function writeVarint(out, value) {
  if (!Number.isSafeInteger(value)) throw new RangeError(`not a safe integer: ${value}`);
  let rest = BigInt.asUintN(64, BigInt(value)); // negative numbers are ten bytes, as protobuf has it
  for (; rest > 0x7fn; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  out.push(Number(rest));
}

function decode(table, reader) {
  const value = {};
  for (const [name, kind] of Object.values(table)) {
    if (typeof kind === 'string') value[name] = DEFAULTS[kind];
  }
  while (reader.at < reader.end) {
    const tag = Number(readVarint(reader));
    const number = Math.floor(tag / 8);
    const wire = tag % 8;
    const [name, kind] = table[number] ?? [];
    const expected = kind === 'string' || kind === 'bytes' || typeof kind === 'object' ? LENGTH : VARINT;
    if (number === 0) throw new RangeError('field number 0');
    if (name === undefined || wire !== expected) skip(reader, wire, number);
    else {
      if (typeof kind === 'object') delete value[name]; // so that the last member of a oneof is the last key
      value[name] = expected === LENGTH ? readLength(kind, reader) : readNumber(kind, reader);
    }
  }
  return value;
}

function readNumber(kind, reader) {
  const raw = readVarint(reader);
  if (kind === 'bool') return raw !== 0n;
  if (kind === 'uint32') return Number(BigInt.asUintN(32, raw));
  return Number(BigInt.asIntN(kind === 'int32' ? 32 : 64, raw));
}

function readLength(kind, reader) {
  const length = Number(readVarint(reader));
  const from = advance(reader, length);
  const part = reader.bytes.subarray(from, from + length);
  if (kind === 'string') return fromUtf8.decode(part);
  if (kind === 'bytes') return part;
  return decode(kind, { bytes: part, at: 0, end: part.length });
}

function readVarint(reader) {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = reader.bytes[advance(reader, 1)];
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return BigInt.asUintN(64, value);
  }
  throw new RangeError('varint longer than 10 bytes');
}

function skip(reader, wire, number) {
  if (wire === VARINT) readVarint(reader);
  else if (wire === FIXED64) advance(reader, 8);
  else if (wire === LENGTH) advance(reader, Number(readVarint(reader)));
  else if (wire === FIXED32) advance(reader, 4);
  else if (wire === START_GROUP) skipGroup(reader, number);
  else throw new RangeError(`wire type ${wire}`);
}

function skipGroup(reader, number) {
  for (;;) {
    const tag = Number(readVarint(reader));
    if (tag === number * 8 + END_GROUP) return;
    skip(reader, tag % 8, Math.floor(tag / 8));
  }
}

/** Moves past `count` bytes and gives where they began. */
function advance(reader, count) {
  const from = reader.at;
  if (from + count > reader.end) throw new RangeError('truncated');
  reader.at += count;
  return from;
}
