/** The messages between client and gateway (package `mics.message.v1`, `proto/Protos/mics_message.proto`). */
import { codec } from './wire.js';

export const MessageType = { SINGLE_CHAT: 0, GROUP_CHAT: 1 } as const;
/** Open: numbers unknown to this SDK pass through. */
export type MessageType = number;

export const AckStatus = { SENT: 0, FAILED: 1 } as const;
/** Open: numbers unknown to this SDK pass through. */
export type AckStatus = number;

/** A chat message. The gateway overwrites tenant, user and device with those of the session. */
export interface MessageRequest {
  tenantId: string;
  /** Sender. */
  userId: string;
  /** Sender's device. */
  deviceId: string;
  msgId: string;
  msgType: MessageType;
  toUserId: string;
  groupId: string;
  msgBody: Uint8Array;
  /** Unix time in milliseconds. Exact up to 2^53. */
  timestampMs: number;
}

/** Outcome of a message: the gateway's, or a local one (`ack timeout`, `frame too large`). */
export interface MessageAck {
  msgId: string;
  status: AckStatus;
  timestampMs: number;
  /** Empty on plain success; see `docs/errors.md` for the gateway's reasons. */
  reason: string;
  /** Groups: some members have it, others do not. */
  partialDelivery: boolean;
  /** Groups: members told by an OFFLINE_MESSAGE event. */
  offlineNotifiedUsers: number;
  /** Groups: members for whom it is kept. */
  offlineBufferedUsers: number;
  /** Groups: members who get nothing. */
  offlineSkippedUsers: number;
}

export interface ConnectAck {
  /** 1000 = success. */
  code: number;
  tenantId: string;
  userId: string;
  deviceId: string;
  nodeId: string;
  traceId: string;
}

export interface MessageDelivery {
  message?: MessageRequest;
}

/** An error that leaves the connection open: 4400 `invalid protobuf`, 4401 `frame too large`. */
export interface ServerError {
  code: number;
  message: string;
}

export interface HeartbeatPing {
  timestampMs: number;
}

export interface HeartbeatPong {
  timestampMs: number;
}

/** What a client sends: exactly one property is set. */
export interface ClientFrame {
  message?: MessageRequest;
  heartbeatPing?: HeartbeatPing;
}

/** What a gateway sends: at most one property is set; none for a frame that is unknown to this SDK. */
export interface ServerFrame {
  connectAck?: ConnectAck;
  delivery?: MessageDelivery;
  ack?: MessageAck;
  error?: ServerError;
  heartbeatPong?: HeartbeatPong;
}

export const MessageRequestCodec = /* @__PURE__ */ codec<MessageRequest>([
  { no: 1, name: 'tenantId', kind: 'string' },
  { no: 2, name: 'userId', kind: 'string' },
  { no: 3, name: 'deviceId', kind: 'string' },
  { no: 4, name: 'msgId', kind: 'string' },
  { no: 5, name: 'msgType', kind: 'enum' },
  { no: 6, name: 'toUserId', kind: 'string' },
  { no: 7, name: 'groupId', kind: 'string' },
  { no: 8, name: 'msgBody', kind: 'bytes' },
  { no: 9, name: 'timestampMs', kind: 'int64' },
]);

export const MessageAckCodec = /* @__PURE__ */ codec<MessageAck>([
  { no: 1, name: 'msgId', kind: 'string' },
  { no: 2, name: 'status', kind: 'enum' },
  { no: 3, name: 'timestampMs', kind: 'int64' },
  { no: 4, name: 'reason', kind: 'string' },
  { no: 5, name: 'partialDelivery', kind: 'bool' },
  { no: 6, name: 'offlineNotifiedUsers', kind: 'uint32' },
  { no: 7, name: 'offlineBufferedUsers', kind: 'uint32' },
  { no: 8, name: 'offlineSkippedUsers', kind: 'uint32' },
]);

export const ConnectAckCodec = /* @__PURE__ */ codec<ConnectAck>([
  { no: 1, name: 'code', kind: 'int32' },
  { no: 2, name: 'tenantId', kind: 'string' },
  { no: 3, name: 'userId', kind: 'string' },
  { no: 4, name: 'deviceId', kind: 'string' },
  { no: 5, name: 'nodeId', kind: 'string' },
  { no: 6, name: 'traceId', kind: 'string' },
]);

export const MessageDeliveryCodec = /* @__PURE__ */ codec<MessageDelivery>([
  { no: 1, name: 'message', kind: MessageRequestCodec.fields },
]);

export const ServerErrorCodec = /* @__PURE__ */ codec<ServerError>([
  { no: 1, name: 'code', kind: 'int32' },
  { no: 2, name: 'message', kind: 'string' },
]);

export const HeartbeatPingCodec = /* @__PURE__ */ codec<HeartbeatPing>([{ no: 1, name: 'timestampMs', kind: 'int64' }]);
export const HeartbeatPongCodec = /* @__PURE__ */ codec<HeartbeatPong>([{ no: 1, name: 'timestampMs', kind: 'int64' }]);

export const ClientFrameCodec = /* @__PURE__ */ codec<ClientFrame>([
  { no: 1, name: 'message', kind: MessageRequestCodec.fields },
  { no: 2, name: 'heartbeatPing', kind: HeartbeatPingCodec.fields },
]);

export const ServerFrameCodec = /* @__PURE__ */ codec<ServerFrame>([
  { no: 1, name: 'connectAck', kind: ConnectAckCodec.fields },
  { no: 2, name: 'delivery', kind: MessageDeliveryCodec.fields },
  { no: 3, name: 'ack', kind: MessageAckCodec.fields },
  { no: 4, name: 'error', kind: ServerErrorCodec.fields },
  { no: 5, name: 'heartbeatPong', kind: HeartbeatPongCodec.fields },
]);
