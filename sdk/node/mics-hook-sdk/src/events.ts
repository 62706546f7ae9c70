/** The events of a tenant: topics, decoding, verification, and a name by which a repeated one is recognised. */
import { createHash } from 'node:crypto';
import type { ConnectAck, MessageRequest } from '../../../ts/src/messages.js';
import { ConnectAckCodec, MessageRequestCodec } from '../../../ts/src/messages.js';
import type { MqEvent } from './messages.js';
import { EventType, MqEventCodec } from './messages.js';
import { verifyMqEventSign } from './signature.js';

/** `im-mics-{tenantId}-event` */
export function eventTopicName(tenantId: string): string {
  return `im-mics-${tenantId}-event`;
}

/** `im-mics-{tenantId}-event-dlq` */
export function dlqTopicName(tenantId: string): string {
  return `${eventTopicName(tenantId)}-dlq`;
}

/** Throws `WireError` on malformed bytes. */
export function decodeMqEvent(bytes: Uint8Array): MqEvent {
  return MqEventCodec.decode(bytes);
}

export function encodeMqEvent(event: MqEvent): Uint8Array {
  return MqEventCodec.encode(event).finish();
}

/** Is the event signed with this secret? The same as `verifyMqEventSign`, with the arguments in the other order. */
export function isValidMqEventSign(event: MqEvent | Uint8Array, tenantSecret: string): boolean {
  return verifyMqEventSign(tenantSecret, event);
}

export interface VerifyOptions {
  tenantSecret: string;
  /** Refuse events without a signature. A signature that is there must be right in any case. true. */
  requireSign?: boolean;
}

export type MqVerifyResult = { ok: true; event: MqEvent } | { ok: false; reason: string; event?: MqEvent };

/** Decodes an event and checks its signature over the bytes received; never throws. */
export function decodeAndVerifyMqEvent(bytes: Uint8Array, options: VerifyOptions): MqVerifyResult {
  let event: MqEvent;
  try {
    event = decodeMqEvent(bytes);
  } catch {
    return { ok: false, reason: 'malformed event' };
  }
  const unsignedIsFine = !(options.requireSign ?? true);
  if (event.sign === '') return unsignedIsFine ? { ok: true, event } : { ok: false, reason: 'invalid sign', event };
  return verifyMqEventSign(options.tenantSecret, bytes)
    ? { ok: true, event }
    : { ok: false, reason: 'invalid sign', event };
}

/** The session of CONNECT_ONLINE and CONNECT_OFFLINE; undefined for other events and malformed data. */
export function tryDecodeConnectAck(event: MqEvent): ConnectAck | undefined {
  const { CONNECT_ONLINE, CONNECT_OFFLINE } = EventType;
  const fits = event.eventType === CONNECT_ONLINE || event.eventType === CONNECT_OFFLINE;
  return fits ? attempt(() => ConnectAckCodec.decode(event.eventData)) : undefined;
}

/** The message of SINGLE_CHAT_MSG, GROUP_CHAT_MSG and OFFLINE_MESSAGE; undefined for others and malformed data. */
export function tryDecodeMessage(event: MqEvent): MessageRequest | undefined {
  const { SINGLE_CHAT_MSG, GROUP_CHAT_MSG, OFFLINE_MESSAGE } = EventType;
  const fits = [SINGLE_CHAT_MSG, GROUP_CHAT_MSG, OFFLINE_MESSAGE].some((type) => type === event.eventType);
  return fits ? attempt(() => MessageRequestCodec.decode(event.eventData)) : undefined;
}

/**
 * The same for every copy of an event, also when the client repeated the message to another gateway. The body belongs to
 * it because some clients restart their message ids from "1".
 */
export function eventKey(event: MqEvent): string {
  const message = tryDecodeMessage(event);
  const { tenantId, eventType, traceId, userId, deviceId, msgId, toUserId, groupId } = event;
  if (!message) return JSON.stringify([tenantId, eventType, traceId, userId, deviceId]);
  const body = createHash('sha256').update(message.msgBody).digest('base64');
  return JSON.stringify([tenantId, eventType, userId, deviceId, msgId, toUserId, groupId, body]);
}

function attempt<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}
