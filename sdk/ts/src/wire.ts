/**
 * Protobuf on the wire, driven by field tables: small enough for a web page, and free of anything that a mini program's
 * runtime lacks (TextEncoder, BigInt). Writes canonical proto3; fields it does not know are skipped.
 */

/** How a field is written: a scalar kind, or the table of a nested message. */
export type FieldKind = 'string' | 'bytes' | 'int32' | 'uint32' | 'int64' | 'bool' | 'enum' | Fields<any>;

/** One field: number, property name, kind, and whether it is repeated or `optional` (written even when zero). */
export interface Field<T> {
  no: number;
  name: keyof T & string;
  kind: FieldKind;
  label?: 'repeated' | 'optional';
}

/** Fields of a message, by ascending number. */
export type Fields<T> = readonly Field<T>[];

/** Turns one message type into bytes and back. `decode` throws {@link WireError} on malformed bytes. */
export interface Codec<T> {
  /** The field table, for nesting. */
  readonly fields: Fields<T>;
  /** Canonical bytes, behind `finish()` as generated protobuf code has it. Missing properties count as defaults. */
  encode(message: Partial<T>): { finish(): Uint8Array };
  /** All properties of `T` are set, except unset `optional` ones and unset nested messages. */
  decode(bytes: Uint8Array): T;
}

/** Bytes that are not the protobuf message they should be. */
export class WireError extends Error {
  override name = 'WireError';
}

/** Makes the codec of a message from its field table. */
export function codec<T extends object>(fields: Fields<T>): Codec<T> {
  return {
    fields,
    encode: (message) => ({ finish: () => encode(fields, message) }),
    decode: (bytes) => decode(fields, bytes),
  };
}

const VARINT = 0;
const LENGTH = 2;

function encode<T>(fields: Fields<T>, message: Partial<T>): Uint8Array {
  const out = new Writer();
  for (const field of fields) {
    const value = message[field.name];
    if (field.label === 'repeated') {
      for (const item of (value as unknown[] | undefined) ?? []) writeField(out, field, item);
    } else if (value !== undefined && value !== null && (field.label === 'optional' || !isDefault(value))) {
      writeField(out, field, value);
    }
  }
  return out.finish();
}

function isDefault(value: unknown): boolean {
  return value === '' || value === 0 || value === false || (value instanceof Uint8Array && value.length === 0);
}

function writeField<T>(out: Writer, field: Field<T>, value: unknown): void {
  const { no, kind } = field;
  if (kind === 'string') out.tag(no, LENGTH).bytes(utf8Encode(value as string));
  else if (kind === 'bytes') out.tag(no, LENGTH).bytes(value as Uint8Array);
  else if (kind === 'bool') out.tag(no, VARINT).varint(value ? 1 : 0);
  else if (typeof kind === 'string') out.tag(no, VARINT).varint(value as number);
  // A nested message may be given as its own bytes, and then travels unchanged.
  else out.tag(no, LENGTH).bytes(value instanceof Uint8Array ? value : encode(kind, value as object));
}

function decode<T>(fields: Fields<T>, bytes: Uint8Array): T {
  const message = defaults(fields);
  const reader = new Reader(bytes);
  while (!reader.atEnd()) {
    const { no, type } = reader.tag();
    const field = fields.find((f) => f.no === no);
    const expected = field && (isVarint(field.kind) ? VARINT : LENGTH);
    if (!field || type !== expected) {
      reader.skip(type);
      continue;
    }
    const value = readField(reader, field.kind);
    if (field.label === 'repeated') (message[field.name] as unknown[]).push(value);
    else message[field.name] = value;
  }
  return message as T;
}

function defaults<T>(fields: Fields<T>): Record<string, unknown> {
  const message: Record<string, unknown> = {};
  for (const { name, kind, label } of fields) {
    if (label === 'repeated') message[name] = [];
    else if (label === 'optional') continue;
    else if (kind === 'string') message[name] = '';
    else if (kind === 'bytes') message[name] = new Uint8Array(0);
    else if (kind === 'bool') message[name] = false;
    else if (typeof kind === 'string') message[name] = 0;
  }
  return message;
}

function isVarint(kind: FieldKind): boolean {
  return typeof kind === 'string' && kind !== 'string' && kind !== 'bytes';
}

function readField(reader: Reader, kind: FieldKind): unknown {
  switch (kind) {
    case 'string':
      return utf8Decode(reader.bytes());
    case 'bytes':
      return new Uint8Array(reader.bytes());
    case 'bool': {
      const { low, high } = reader.varint();
      return (low | high) !== 0;
    }
    case 'int64': {
      const { low, high } = reader.varint();
      return (high | 0) * 4294967296 + (low >>> 0);
    }
    case 'uint32':
      return reader.varint().low >>> 0;
    case 'int32':
    case 'enum':
      return reader.varint().low | 0;
    default:
      return decode(kind, reader.bytes());
  }
}

class Writer {
  private buffer = new Uint8Array(64);
  private length = 0;

  tag(no: number, type: number): this {
    return this.varint(no * 8 + type);
  }

  /** An integer within ±2^53; negative ones take ten bytes, as two's complement. */
  varint(value: number): this {
    let low = value >>> 0;
    let high = Math.floor(value / 4294967296) >>> 0;
    this.reserve(10);
    while (high !== 0 || low > 127) {
      this.buffer[this.length++] = (low & 127) | 128;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.buffer[this.length++] = low;
    return this;
  }

  /** Length and content. */
  bytes(content: Uint8Array): this {
    this.varint(content.length);
    this.reserve(content.length);
    this.buffer.set(content, this.length);
    this.length += content.length;
    return this;
  }

  finish(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }

  private reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.buffer.length) return;
    const larger = new Uint8Array(Math.max(needed, this.buffer.length * 2));
    larger.set(this.buffer.subarray(0, this.length));
    this.buffer = larger;
  }
}

/** Reads protobuf primitives. Exported for those who look at the bytes of a message without decoding it. */
export class Reader {
  /** Offset of the next byte. */
  position = 0;

  constructor(private readonly buffer: Uint8Array) {}

  atEnd(): boolean {
    return this.position >= this.buffer.length;
  }

  tag(): { no: number; type: number } {
    const { low, high } = this.varint();
    const no = low >>> 3;
    if (high !== 0 || no === 0) throw new WireError('malformed tag');
    return { no, type: low & 7 };
  }

  /** A 64-bit number as two unsigned halves. */
  varint(): { low: number; high: number } {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.buffer[this.position++];
      if (byte === undefined) throw new WireError('unexpected end');
      const bits = byte & 127;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high |= bits >>> 4;
      } else high |= shift < 63 ? bits << (shift - 32) : (bits & 1) << 31;
      if (byte < 128) return { low: low >>> 0, high: high >>> 0 };
    }
    throw new WireError('varint too long');
  }

  /** Length-delimited content, as a view of the buffer. */
  bytes(): Uint8Array {
    const { low, high } = this.varint();
    if (high !== 0 || low > this.buffer.length - this.position) throw new WireError('unexpected end');
    this.position += low;
    return this.buffer.subarray(this.position - low, this.position);
  }

  skip(type: number): void {
    if (type === VARINT) this.varint();
    else if (type === LENGTH) this.bytes();
    else if (type === 1 || type === 5) this.position += type === 1 ? 8 : 4;
    else throw new WireError(`unsupported wire type ${type}`);
    if (this.position > this.buffer.length) throw new WireError('unexpected end');
  }
}

/** UTF-8 bytes of a text; a lone surrogate becomes U+FFFD. */
export function utf8Encode(text: string): Uint8Array {
  const out: number[] = [];
  for (const char of text) {
    let code = char.codePointAt(0)!;
    if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
    if (code < 0x80) out.push(code);
    else if (code < 0x800) out.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) out.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else out.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return Uint8Array.from(out);
}

/** The text of UTF-8 bytes; throws {@link WireError} when they are not UTF-8. */
export function utf8Decode(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; ) {
    const first = bytes[i++]!;
    const more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : 3;
    if (more === 3 && (first < 0xf0 || first > 0xf4)) throw new WireError('invalid utf-8');
    let code = more === 0 ? first : first & (63 >> more);
    for (let k = 0; k < more; k++) {
      const next = bytes[i++];
      if (next === undefined || (next & 0xc0) !== 0x80) throw new WireError('invalid utf-8');
      code = (code << 6) | (next & 63);
    }
    const shortest = more === 2 ? 0x800 : more === 3 ? 0x10000 : 0;
    if (code < shortest || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) throw new WireError('invalid utf-8');
    text += String.fromCodePoint(code);
  }
  return text;
}
