/** The client for web pages and Node. */
import { newWebSocket } from '#platform';
import type { MicsClientCallbacks } from './client.js';
import { MicsClientBase } from './client.js';
import { MicsClientOptions } from './options.js';
import type { WebSocketLike } from './socket.js';
import { webSocketOpener } from './socket.js';

export interface MicsClientDeps extends MicsClientCallbacks {
  /** Makes the socket; default: the browser's WebSocket, in Node the one of `ws`. */
  wsFactory?: (url: string) => WebSocketLike;
}

/** A client of a MICS gateway. Its callbacks can be given here or set later. */
export class MicsClient extends MicsClientBase {
  constructor(options: Partial<MicsClientOptions> = {}, deps: MicsClientDeps = {}) {
    super(MicsClientOptions.default(options), webSocketOpener(deps.wsFactory ?? newWebSocket), deps);
  }
}
