/** Makes signed requests and events as a gateway does. */
import { randomUUID } from 'node:crypto';
import type { Codec } from '../../../ts/src/wire.js';
import type { HookMeta, MqEvent } from '../src/index.js';
import { computeHookSignBase64, computeMqEventSignBase64, EventType, MessageRequestCodec } from '../src/index.js';

export const SECRET = 'dev-secret-t1';

export function metaOf(more: Partial<HookMeta> = {}): HookMeta {
  return { tenantId: 't1', requestId: randomUUID(), timestampMs: Date.now(), sign: '', traceId: 'trace', ...more };
}

/** The bytes of a request, signed; `tail` is appended before signing, as a newer gateway's unknown field would be. */
export function signed<T extends object>(
  codec: Codec<T>,
  fields: Partial<T>,
  { secret = SECRET, tail = new Uint8Array(0), ...more }: Partial<HookMeta> & { secret?: string; tail?: Uint8Array } = {},
): Uint8Array {
  const meta = metaOf(more);
  const cleared = Buffer.concat([codec.encode({ ...fields, meta } as Partial<T>).finish(), tail]);
  const sign = computeHookSignBase64(secret, meta, cleared);
  return Buffer.concat([codec.encode({ ...fields, meta: { ...meta, sign } } as Partial<T>).finish(), tail]);
}

/** A signed event of the message `m1` from u1 to u2, with some fields replaced. */
export function eventOf(more: Partial<MqEvent> = {}, body = 'hello'): MqEvent {
  const message = { tenantId: 't1', userId: 'u1', deviceId: 'd1', msgId: 'm1', msgBody: Buffer.from(body) };
  const event = {
    tenantId: 't1',
    eventType: EventType.SINGLE_CHAT_MSG,
    msgId: 'm1',
    userId: 'u1',
    deviceId: 'd1',
    toUserId: 'u2',
    groupId: '',
    eventData: MessageRequestCodec.encode(message).finish(),
    timestamp: 1,
    nodeId: 'n1',
    sign: '',
    traceId: 'trace',
    ...more,
  };
  return { ...event, sign: computeMqEventSignBase64(SECRET, event) };
}
