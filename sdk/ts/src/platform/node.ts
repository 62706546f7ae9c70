/** What the SDK takes from Node: `ws` (Node has no WebSocket before 22, and none that can be dropped) and WebCrypto. */
import { webcrypto } from 'node:crypto';
import { WebSocket } from 'ws';
import type { WebSocketLike } from '../socket.js';

/** Largest frame accepted from the gateway, in bytes. */
const MAX_FRAME = 16 << 20;

export function newWebSocket(url: string): WebSocketLike {
  return new WebSocket(url, { perMessageDeflate: false, maxPayload: MAX_FRAME }) as WebSocketLike;
}

export function webCrypto(): Crypto | undefined {
  return webcrypto as Crypto;
}
