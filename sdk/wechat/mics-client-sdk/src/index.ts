/** @packageDocumentation Client SDK for a MICS gateway: WeChat mini programs. The client itself is that of `sdk/ts`. */
import type { MicsClientCallbacks } from '../../../ts/src/client.js';
import { MicsClientBase } from '../../../ts/src/client.js';
import { MicsClientOptions } from '../../../ts/src/options.js';
import type { SocketFactory } from './wx.js';
import { connectSocket, socketTaskOpener } from './wx.js';

export * from '../../../ts/src/shared.js';
export { AesGcmMessageCrypto } from './crypto.js';
export type { SocketFactory, SocketTask } from './wx.js';

export interface MicsClientDeps extends MicsClientCallbacks {
  /** Makes the socket; default: `wx.connectSocket`. */
  socketFactory?: SocketFactory;
}

/** A client of a MICS gateway. Its callbacks can be given here or set later. */
export class MicsClient extends MicsClientBase {
  constructor(options: Partial<MicsClientOptions> = {}, deps: MicsClientDeps = {}) {
    super(MicsClientOptions.default(options), socketTaskOpener(deps.socketFactory ?? connectSocket), deps);
  }
}
