/** Remembers recent deliveries, so that one repeated by the gateway reaches the application once. Bounded. */
import type { MessageRequest } from './messages.js';

export class Dedup {
  private readonly seen = new Set<string>();

  constructor(private readonly window: number) {}

  /** The name of a delivery, or undefined when it has none (blank id, or switched off). */
  key(m: MessageRequest): string | undefined {
    if (this.window <= 0 || m.msgId === '') return undefined;
    // Target and body belong to it because some clients restart their ids from "1".
    return JSON.stringify([m.userId, m.deviceId, m.msgId, m.toUserId, m.groupId, m.msgBody.length, hash(m.msgBody)]);
  }

  has(key: string | undefined): boolean {
    return key !== undefined && this.seen.has(key);
  }

  /** Remembers a key; the oldest is forgotten beyond the window. */
  add(key: string | undefined): void {
    if (key === undefined) return;
    this.seen.add(key);
    if (this.seen.size > this.window) this.seen.delete(this.seen.values().next().value!);
  }
}

/** 53 bits in the manner of murmur (cyrb53). Not cryptographic: it only tells contents under one id apart. */
function hash(bytes: Uint8Array): number {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, 2654435761);
    b = Math.imul(b ^ byte, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return 4294967296 * (2097151 & b) + (a >>> 0);
}
