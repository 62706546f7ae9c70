/** The seam between the client and the kind of socket a platform has. */

/** An open or opening connection. None of its methods throws. */
export interface Socket {
  send(bytes: Uint8Array): void;
  /** Starts the closing handshake; `SocketEvents.closed` tells its end. */
  close(code: number, reason: string): void;
  /** Drops the connection without ceremony. */
  abort(): void;
}

export interface SocketEvents {
  /** A binary message. */
  message(bytes: Uint8Array): void;
  /** The end of the connection, or of the attempt to open it. */
  closed(code: number, reason: string): void;
}

/** Opens a connection. Throws only when `url` cannot be used at all. */
export type OpenSocket = (url: string, events: SocketEvents) => Socket;

/** The part of the W3C WebSocket that this SDK uses: browsers, `ws`, and every work-alike. */
export interface WebSocketLike {
  binaryType: string;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: Uint8Array): void;
  close(code?: number, reason?: string): void;
  /** Drops the connection at once (`ws` has it, browsers do not). */
  terminate?(): void;
}

/** Makes `OpenSocket` out of a factory of W3C WebSockets. */
export function webSocketOpener(factory: (url: string) => WebSocketLike): OpenSocket {
  return (url, events) => {
    const ws = factory(url);
    ws.binaryType = 'arraybuffer';
    // An error is always followed by a close, which tells more.
    ws.onerror = () => {};
    ws.onclose = (event: { code?: number; reason?: string }) => events.closed(event.code ?? 1006, event.reason ?? '');
    ws.onmessage = ({ data }: { data: unknown }) => {
      if (data instanceof ArrayBuffer) events.message(new Uint8Array(data));
      else if (ArrayBuffer.isView(data)) events.message(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    };
    const quietly = (action: () => void): void => {
      try {
        action();
      } catch {
        // A socket that is gone tells so by `closed`, or the watchdog finds out.
      }
    };
    return {
      send: (bytes) => quietly(() => ws.send(bytes)),
      close: (code, reason) => quietly(() => ws.close(code, reason)),
      abort: () => quietly(() => (ws.terminate ? ws.terminate() : ws.close())),
    };
  };
}
