/** The messages between gateway and tenant (package `mics.hook.v1`, `proto/Protos/mics_hook.proto`). */
import type { MessageRequest } from '../../../ts/src/messages.js';
import { MessageRequestCodec } from '../../../ts/src/messages.js';
import { codec } from '../../../ts/src/wire.js';

export const EventType = {
  CONNECT_ONLINE: 0,
  CONNECT_OFFLINE: 1,
  SINGLE_CHAT_MSG: 2,
  GROUP_CHAT_MSG: 3,
  OFFLINE_MESSAGE: 4,
} as const;
/** Open: numbers unknown to this SDK pass through. */
export type EventType = number;

export interface HookMeta {
  tenantId: string;
  /** Fresh for every call. */
  requestId: string;
  /** The gateway's clock, Unix milliseconds. */
  timestampMs: number;
  sign: string;
  /** Names the client's connection in the gateway's logs. */
  traceId: string;
}

/** What the gateway keeps for a session. 0 or less means the gateway's default or, for limits, no limit. */
export interface TenantRuntimeConfig {
  /** Base of the other three hooks. Required: the gateway does not fall back to the address of /auth. */
  hookBaseUrl: string;
  heartbeatTimeoutSeconds: number;
  offlineBufferTtlSeconds: number;
  tenantMaxConnections: number;
  userMaxConnections: number;
  tenantMaxMessageQps: number;
  /** Signs the other hooks and the events; blank = unsigned. */
  tenantSecret: string;
  hookMaxConcurrency?: number;
  hookQueueTimeoutMs?: number;
  hookBreakerFailureThreshold?: number;
  hookBreakerOpenMs?: number;
  hookSignRequired?: boolean;
  offlineUseHookPull?: boolean;
  /** Members of a group are believed this long without asking. */
  groupCacheTtlSeconds?: number;
  /** Members per page that the gateway asks for. */
  groupPageSize?: number;
}

export interface AuthRequest {
  meta?: HookMeta;
  token: string;
  deviceId: string;
}

export interface AuthResponse {
  meta?: HookMeta;
  ok: boolean;
  userId: string;
  /** Ignored by the gateway, which keeps the client's. */
  deviceId: string;
  config?: TenantRuntimeConfig;
  /** Becomes the text of close code 4001. */
  reason: string;
}

export interface CheckMessageRequest {
  meta?: HookMeta;
  message?: MessageRequest;
}

export interface CheckMessageResponse {
  meta?: HookMeta;
  allow: boolean;
  /** Becomes the reason of the sender's FAILED ack. */
  reason: string;
}

export interface GetGroupMembersRequest {
  meta?: HookMeta;
  groupId: string;
  /** The `nextCursor` of the page before; empty = from the start. */
  cursor: string;
  /** Members wanted in this page; 0 = as many as you like. */
  maxMembers: number;
  /** Version of the list that the gateway still has. */
  knownVersion: string;
}

export interface GetGroupMembersResponse {
  meta?: HookMeta;
  userIds: string[];
  /** Empty = this was the last page. */
  nextCursor: string;
  /** Names this state of the list, the same in all its pages; empty = not told. */
  version: string;
  /** The list is still the one of `knownVersion`; `userIds` is empty. */
  notModified: boolean;
}

export interface GetOfflineMessagesRequest {
  meta?: HookMeta;
  userId: string;
  deviceId: string;
  maxMessages: number;
  /** The `nextCursor` of the page before; empty = from the start. */
  cursor: string;
}

export interface GetOfflineMessagesResponse {
  meta?: HookMeta;
  ok: boolean;
  messages: MessageRequest[];
  reason: string;
  nextCursor: string;
  hasMore: boolean;
}

/** An event on the topic `im-mics-{tenant}-event`. */
export interface MqEvent {
  tenantId: string;
  eventType: EventType;
  msgId: string;
  /** The user who acted: also for OFFLINE_MESSAGE the sender. */
  userId: string;
  deviceId: string;
  /** For OFFLINE_MESSAGE the recipient for whom it is. */
  toUserId: string;
  groupId: string;
  /** A `ConnectAck` or a `MessageRequest`, see `tryDecodeConnectAck` and `tryDecodeMessage`. */
  eventData: Uint8Array;
  /** Unix milliseconds. */
  timestamp: number;
  nodeId: string;
  sign: string;
  traceId: string;
}

export const HookMetaCodec = /* @__PURE__ */ codec<HookMeta>([
  { no: 1, name: 'tenantId', kind: 'string' },
  { no: 2, name: 'requestId', kind: 'string' },
  { no: 3, name: 'timestampMs', kind: 'int64' },
  { no: 4, name: 'sign', kind: 'string' },
  { no: 5, name: 'traceId', kind: 'string' },
]);

export const TenantRuntimeConfigCodec = /* @__PURE__ */ codec<TenantRuntimeConfig>([
  { no: 1, name: 'hookBaseUrl', kind: 'string' },
  { no: 2, name: 'heartbeatTimeoutSeconds', kind: 'int32' },
  { no: 3, name: 'offlineBufferTtlSeconds', kind: 'int32' },
  { no: 4, name: 'tenantMaxConnections', kind: 'int32' },
  { no: 5, name: 'userMaxConnections', kind: 'int32' },
  { no: 6, name: 'tenantMaxMessageQps', kind: 'int32' },
  { no: 7, name: 'tenantSecret', kind: 'string' },
  { no: 8, name: 'hookMaxConcurrency', kind: 'int32', label: 'optional' },
  { no: 9, name: 'hookQueueTimeoutMs', kind: 'int32', label: 'optional' },
  { no: 10, name: 'hookBreakerFailureThreshold', kind: 'int32', label: 'optional' },
  { no: 11, name: 'hookBreakerOpenMs', kind: 'int32', label: 'optional' },
  { no: 12, name: 'hookSignRequired', kind: 'bool', label: 'optional' },
  { no: 13, name: 'offlineUseHookPull', kind: 'bool', label: 'optional' },
  { no: 100, name: 'groupCacheTtlSeconds', kind: 'int32', label: 'optional' },
  { no: 101, name: 'groupPageSize', kind: 'int32', label: 'optional' },
]);

export const AuthRequestCodec = /* @__PURE__ */ codec<AuthRequest>([
  { no: 1, name: 'meta', kind: HookMetaCodec.fields },
  { no: 2, name: 'token', kind: 'string' },
  { no: 3, name: 'deviceId', kind: 'string' },
]);

export const AuthResponseCodec = /* @__PURE__ */ codec<AuthResponse>([
  { no: 1, name: 'meta', kind: HookMetaCodec.fields },
  { no: 2, name: 'ok', kind: 'bool' },
  { no: 3, name: 'userId', kind: 'string' },
  { no: 4, name: 'deviceId', kind: 'string' },
  { no: 5, name: 'config', kind: TenantRuntimeConfigCodec.fields },
  { no: 6, name: 'reason', kind: 'string' },
]);

export const CheckMessageRequestCodec = /* @__PURE__ */ codec<CheckMessageRequest>([
  { no: 1, name: 'meta', kind: HookMetaCodec.fields },
  { no: 2, name: 'message', kind: MessageRequestCodec.fields },
]);

export const CheckMessageResponseCodec = /* @__PURE__ */ codec<CheckMessageResponse>([
  { no: 1, name: 'meta', kind: HookMetaCodec.fields },
  { no: 2, name: 'allow', kind: 'bool' },
  { no: 3, name: 'reason', kind: 'string' },
]);

export const GetGroupMembersRequestCodec = /* @__PURE__ */ codec<GetGroupMembersRequest>([
  { no: 1, name: 'meta', kind: HookMetaCodec.fields },
  { no: 2, name: 'groupId', kind: 'string' },
  { no: 100, name: 'cursor', kind: 'string' },
  { no: 101, name: 'maxMembers', kind: 'int32' },
  { no: 102, name: 'knownVersion', kind: 'string' },
]);

export const GetGroupMembersResponseCodec = /* @__PURE__ */ codec<GetGroupMembersResponse>([
  { no: 1, name: 'meta', kind: HookMetaCodec.fields },
  { no: 2, name: 'userIds', kind: 'string', label: 'repeated' },
  { no: 100, name: 'nextCursor', kind: 'string' },
  { no: 101, name: 'version', kind: 'string' },
  { no: 102, name: 'notModified', kind: 'bool' },
]);

export const GetOfflineMessagesRequestCodec = /* @__PURE__ */ codec<GetOfflineMessagesRequest>([
  { no: 1, name: 'meta', kind: HookMetaCodec.fields },
  { no: 2, name: 'userId', kind: 'string' },
  { no: 3, name: 'deviceId', kind: 'string' },
  { no: 4, name: 'maxMessages', kind: 'int32' },
  { no: 5, name: 'cursor', kind: 'string' },
]);

export const GetOfflineMessagesResponseCodec = /* @__PURE__ */ codec<GetOfflineMessagesResponse>([
  { no: 1, name: 'meta', kind: HookMetaCodec.fields },
  { no: 2, name: 'ok', kind: 'bool' },
  { no: 3, name: 'messages', kind: MessageRequestCodec.fields, label: 'repeated' },
  { no: 4, name: 'reason', kind: 'string' },
  { no: 5, name: 'nextCursor', kind: 'string' },
  { no: 6, name: 'hasMore', kind: 'bool' },
]);

export const MqEventCodec = /* @__PURE__ */ codec<MqEvent>([
  { no: 1, name: 'tenantId', kind: 'string' },
  { no: 2, name: 'eventType', kind: 'enum' },
  { no: 3, name: 'msgId', kind: 'string' },
  { no: 4, name: 'userId', kind: 'string' },
  { no: 5, name: 'deviceId', kind: 'string' },
  { no: 6, name: 'toUserId', kind: 'string' },
  { no: 7, name: 'groupId', kind: 'string' },
  { no: 8, name: 'eventData', kind: 'bytes' },
  { no: 9, name: 'timestamp', kind: 'int64' },
  { no: 10, name: 'nodeId', kind: 'string' },
  { no: 11, name: 'sign', kind: 'string' },
  { no: 12, name: 'traceId', kind: 'string' },
]);
