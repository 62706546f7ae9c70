/** What all JavaScript client SDKs export alike. */
export type {
  MicsClientBase,
  MicsClientCallbacks,
  MicsClientStats,
  MicsDelivery,
  SendGroupChatParams,
  SendSingleChatParams,
} from './client.js';
export type { MessageCrypto } from './crypto.js';
export { closeAction, type CloseAction, type CloseInfo, MicsError, type MicsErrorCode } from './errors.js';
export * from './messages.js';
export {
  type Logger,
  type LogLevel,
  MicsClientOptions,
  MicsClientState,
  type MicsConnectParams,
  type MicsSession,
  type TokenProvider,
} from './options.js';
export { uuidv7 } from './uuid.js';
export { type Codec, utf8Decode, utf8Encode, WireError } from './wire.js';
