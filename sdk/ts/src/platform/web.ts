/** What the SDK takes from a browser, and from every other runtime with a W3C WebSocket and WebCrypto. */
import type { WebSocketLike } from '../socket.js';

export function newWebSocket(url: string): WebSocketLike {
  return new WebSocket(url) as WebSocketLike;
}

/** Undefined where there is none: pages that are neither `https:` nor `localhost`. */
export function webCrypto(): Crypto | undefined {
  return globalThis.crypto?.subtle ? globalThis.crypto : undefined;
}
