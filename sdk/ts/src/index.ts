/** @packageDocumentation Client SDK for a MICS gateway: web pages and Node. */
export { MicsClient, type MicsClientDeps } from './mics_client.js';
export type { WebSocketLike } from './socket.js';
export { AesGcmMessageCrypto } from './webcrypto.js';
export * from './shared.js';
