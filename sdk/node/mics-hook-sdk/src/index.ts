/** @packageDocumentation Hook SDK for tenants of a MICS gateway: HTTP hooks and Kafka events, for Node 18 or newer. */
export * from './consumer.js';
export * from './events.js';
export type {
  AuthReply,
  CheckMessageReply,
  GetGroupMembersReply,
  GetOfflineMessagesReply,
  HookContext,
  HookHttpRequest,
  HookHttpResponse,
  HookLogger,
  MicsHookHandlers,
  MicsHookServerOptions,
} from './hooks.js';
export { HookDispatcher } from './hooks.js';
export * from './messages.js';
export * from './processor.js';
export { MemoryReplayCache, type ReplayCache } from './replay.js';
export { createMicsHookServer, micsHookExpress, micsHookFastify } from './servers.js';
export {
  computeHookSignBase64,
  computeMqEventSignBase64,
  verifyHookSign,
  verifyMqEventSign,
} from './signature.js';
export { type SqliteDatabase, SqliteOfflineStore, type SqliteOfflineStoreOptions } from './sqlite.js';
export {
  type ConnectAck,
  ConnectAckCodec,
  type MessageRequest,
  MessageRequestCodec,
  MessageType,
} from '../../../ts/src/messages.js';
export { type Codec, WireError } from '../../../ts/src/wire.js';
