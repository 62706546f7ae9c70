/** The part of the mini program API that this SDK uses, and the socket made of it. */
import type { OpenSocket } from '../../../ts/src/socket.js';

/** What `wx.connectSocket` returns. */
export interface SocketTask {
  onMessage(listener: (result: { data: string | ArrayBuffer }) => void): void;
  onClose(listener: (result: { code: number; reason: string }) => void): void;
  onError(listener: (result: { errMsg: string }) => void): void;
  send(options: { data: ArrayBuffer; fail?: (result: { errMsg: string }) => void }): void;
  close(options: { code?: number; reason?: string; fail?: () => void }): void;
}

/** Opens a socket. `fail` is for an opening that never gets as far as the task's own events. */
export type SocketFactory = (url: string, fail: (result: { errMsg: string }) => void) => SocketTask;

interface Wx {
  connectSocket(options: { url: string; fail: (result: { errMsg: string }) => void }): SocketTask;
  getRandomValues(options: {
    length: number;
    success: (result: { randomValues: ArrayBuffer }) => void;
    fail: (result: { errMsg: string }) => void;
  }): void;
}

declare const wx: Wx;

/** The default factory. */
export const connectSocket: SocketFactory = (url, fail) => wx.connectSocket({ url, fail });

/** Makes the client's socket out of a `SocketTask`. */
export function socketTaskOpener(factory: SocketFactory): OpenSocket {
  return (url, events) => {
    // Some versions tell an error without a close after it; the client heeds whichever comes first.
    const failed = ({ errMsg }: { errMsg: string }): void => events.closed(1006, errMsg);
    const task = factory(url, failed);
    task.onError(failed);
    task.onClose(({ code, reason }) => events.closed(code ?? 1006, reason ?? ''));
    task.onMessage(({ data }) => {
      if (typeof data !== 'string') events.message(new Uint8Array(data));
    });
    const close = (code: number, reason: string): void => task.close({ code, reason, fail: () => {} });
    return {
      // A view would be refused: `data` must be an ArrayBuffer of exactly these bytes.
      send: (bytes) => task.send({ data: bytes.slice().buffer as ArrayBuffer, fail: failed }),
      close,
      abort: () => close(1000, ''),
    };
  };
}

/** Secure random bytes. Rejects rather than fall back to something weaker. */
export function randomBytes(count: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    wx.getRandomValues({
      length: count,
      success: ({ randomValues }) => resolve(new Uint8Array(randomValues)),
      fail: ({ errMsg }) => reject(new Error(errMsg)),
    });
  });
}
