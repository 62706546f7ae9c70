/**
 * Signatures of hook requests and events. They are checked over the bytes received, with the signature cut out, and not
 * over a message encoded anew: fields that this SDK does not know are covered and do no harm.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Reader, utf8Decode } from '../../../ts/src/wire.js';
import type { HookMeta, MqEvent } from './messages.js';
import { MqEventCodec } from './messages.js';

const META = 1;
const META_REQUEST_ID = 2;
const META_TIMESTAMP = 3;
const META_SIGN = 4;
const EVENT_SIGN = 11;

/** A hook request taken apart for its signature. */
export interface SignedParts {
  /** The request's bytes without `meta.sign`. */
  payload: Buffer;
  /** What follows the payload under the HMAC: request id and timestamp. */
  suffix: Buffer;
  /** Empty when the request is not signed. */
  sign: string;
}

/** Cuts `meta.sign` out of a request of any of the four kinds. Throws `WireError` on malformed bytes. */
export function splitHookRequest(body: Uint8Array): SignedParts {
  const parts: Buffer[] = [];
  let sign = '';
  let suffix = suffixOf(new Uint8Array(0), 0n);
  for (const field of fieldsOf(body)) {
    if (field.no !== META || !field.content) {
      parts.push(field.bytes);
      continue;
    }
    const meta = splitMeta(field.content);
    sign = meta.sign;
    suffix = meta.suffix;
    parts.push(Buffer.from([(META << 3) | 2]), varint(meta.rest.length), meta.rest);
  }
  return { payload: Buffer.concat(parts), suffix, sign };
}

function splitMeta(meta: Uint8Array): { rest: Buffer; suffix: Buffer; sign: string } {
  const kept: Buffer[] = [];
  let sign = '';
  let requestId = new Uint8Array(0);
  let timestamp = 0n;
  for (const field of fieldsOf(meta)) {
    if (field.no === META_SIGN && field.content) {
      sign = utf8Decode(field.content);
      continue;
    }
    kept.push(field.bytes);
    if (field.no === META_REQUEST_ID && field.content) requestId = new Uint8Array(field.content);
    if (field.no === META_TIMESTAMP && field.number !== undefined) timestamp = field.number;
  }
  return { rest: Buffer.concat(kept), suffix: suffixOf(requestId, timestamp), sign };
}

/** Is the request signed with this secret? */
export function isValidHookRequest(secret: string, { payload, suffix, sign }: SignedParts): boolean {
  return sameSign(hmacBase64(secret, payload, suffix), sign);
}

/** The signature of a request: `payload` is its canonical bytes with `meta.sign` empty. */
export function computeHookSignBase64(
  secret: string,
  meta: Pick<HookMeta, 'requestId' | 'timestampMs'>,
  payload: Uint8Array,
): string {
  return hmacBase64(secret, payload, suffixOf(Buffer.from(meta.requestId), BigInt(meta.timestampMs)));
}

/** Compares a signature with the one that {@link computeHookSignBase64} gives, in constant time. */
export function verifyHookSign(
  secret: string,
  meta: Pick<HookMeta, 'requestId' | 'timestampMs'>,
  payload: Uint8Array,
  sign: string,
): boolean {
  return sameSign(computeHookSignBase64(secret, meta, payload), sign);
}

/** The signature of an event, given as a message or as the bytes received; its own `sign` does not matter. */
export function computeMqEventSignBase64(secret: string, event: MqEvent | Uint8Array): string {
  return hmacBase64(secret, splitEvent(event).payload);
}

/** Is the event signed with this secret? Prefer to pass the bytes received: then unknown fields are covered. */
export function verifyMqEventSign(secret: string, event: MqEvent | Uint8Array): boolean {
  const { payload, sign } = splitEvent(event);
  return sameSign(hmacBase64(secret, payload), sign);
}

function splitEvent(event: MqEvent | Uint8Array): { payload: Buffer; sign: string } {
  const bytes = event instanceof Uint8Array ? event : MqEventCodec.encode(event).finish();
  const kept: Buffer[] = [];
  let sign = '';
  for (const field of fieldsOf(bytes)) {
    if (field.no === EVENT_SIGN && field.content) sign = utf8Decode(field.content);
    else kept.push(field.bytes);
  }
  return { payload: Buffer.concat(kept), sign };
}

interface RawField {
  no: number;
  /** The field as it is on the wire, tag included. */
  bytes: Buffer;
  /** Content of a length-delimited field. */
  content?: Uint8Array;
  /** Value of a varint field, as int64. */
  number?: bigint;
}

function* fieldsOf(message: Uint8Array): Generator<RawField> {
  const reader = new Reader(message);
  while (!reader.atEnd()) {
    const start = reader.position;
    const { no, type } = reader.tag();
    const field: RawField = { no, bytes: Buffer.alloc(0) };
    if (type === 2) field.content = reader.bytes();
    else if (type === 0) {
      const { low, high } = reader.varint();
      field.number = BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low));
    } else reader.skip(type);
    field.bytes = Buffer.from(message.subarray(start, reader.position));
    yield field;
  }
}

function suffixOf(requestId: Uint8Array, timestamp: bigint): Buffer {
  const time = Buffer.alloc(8);
  time.writeBigInt64LE(timestamp);
  return Buffer.concat([requestId, time]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}

function hmacBase64(secret: string, ...parts: Uint8Array[]): string {
  const hmac = createHmac('sha256', secret);
  for (const part of parts) hmac.update(part);
  return hmac.digest('base64');
}

/** Compares the texts, so that another spelling of the same base64 is refused. */
function sameSign(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}
