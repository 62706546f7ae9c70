/** One connection: token, socket, `connect_ack`, frames, heartbeat, end. It never comes back; the client makes a new one. */
import { MicsError } from './errors.js';
import { Heartbeat } from './heartbeat.js';
import type { ClientFrame, ConnectAck, ServerFrame } from './messages.js';
import { ClientFrameCodec, ServerFrameCodec } from './messages.js';
import type { MicsClientOptions, MicsConnectParams, MicsSession } from './options.js';
import type { OpenSocket, Socket } from './socket.js';
import { connectUrl } from './url.js';

const CONNECTED = 1000;
const CLOSE_WAIT_MS = 1000;

export interface LinkEvents {
  /** `connect_ack` came. Frames that came before it follow at once. */
  ready(session: MicsSession): void;
  frame(frame: ServerFrame): void;
  /** The end, before or after `ready`; told once. Never told after `close` or `abort`. */
  ended(error: MicsError): void;
  pinged(): void;
}

export class Link {
  private socket: Socket | undefined;
  private heartbeat: Heartbeat | undefined;
  private session: MicsSession | undefined;
  /** Some gateways let a delivery slip in before `connect_ack`. */
  private early: ServerFrame[] = [];
  private over = false;
  private onClosed: (() => void) | undefined;
  private readonly connectTimer: ReturnType<typeof setTimeout>;

  constructor(
    private readonly open: OpenSocket,
    private readonly options: MicsClientOptions,
    private readonly events: LinkEvents,
    params: MicsConnectParams,
  ) {
    const late = (): void => this.end(new MicsError('connect_timeout', 'no connect_ack in time'));
    this.connectTimer = setTimeout(late, options.connectTimeoutMs);
    void this.dial(params);
  }

  send(frame: ClientFrame): void {
    this.socket?.send(ClientFrameCodec.encode(frame).finish());
  }

  /** Closes with code 1000 and reads what is still under way; resolves after a second at most. */
  close(): Promise<void> {
    const { socket } = this;
    if (!socket || !this.session || this.over) return Promise.resolve(this.abort());
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.abort();
        resolve();
      };
      const timer = setTimeout(done, CLOSE_WAIT_MS);
      this.onClosed = done;
      this.heartbeat?.stop();
      socket.close(1000, '');
    });
  }

  /** Drops the connection; no event follows. */
  abort(): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.connectTimer);
    this.heartbeat?.stop();
    this.socket?.abort();
  }

  private async dial(params: MicsConnectParams): Promise<void> {
    let token: string;
    try {
      // Always a turn later, so that no event comes before the constructor returns.
      token = await (typeof params.token === 'function' ? params.token() : params.token);
    } catch (error) {
      return this.end(new MicsError('token_failed', `token provider failed: ${text(error)}`));
    }
    if (this.over) return;
    try {
      const url = connectUrl(params.url, params.tenantId, token, params.deviceId);
      this.socket = this.open(url, {
        message: (bytes) => this.onMessage(bytes),
        closed: (code, reason) => this.onSocketClosed(code, reason),
      });
    } catch (error) {
      this.end(error instanceof MicsError ? error : new MicsError('invalid_argument', 'the address cannot be opened'));
    }
  }

  private onMessage(bytes: Uint8Array): void {
    if (this.over) return;
    this.heartbeat?.sawFrame();
    let frame: ServerFrame;
    try {
      frame = ServerFrameCodec.decode(bytes);
    } catch {
      this.options.logger?.('warn', 'unreadable frame from the gateway', { bytes: bytes.length });
      return;
    }
    if (this.session) this.events.frame(frame);
    else if (frame.connectAck) this.onConnectAck(frame.connectAck);
    else this.early.push(frame);
  }

  private onConnectAck(ack: ConnectAck): void {
    if (ack.code !== CONNECTED) {
      return this.end(new MicsError('connect_refused', `refused with code ${ack.code}`, ack.code));
    }
    clearTimeout(this.connectTimer);
    const { tenantId, userId, deviceId, nodeId, traceId } = ack;
    this.session = { tenantId, userId, deviceId, nodeId, traceId };
    this.heartbeat = new Heartbeat(this.options.heartbeatIntervalMs, this.options.watchdogSlackMs, {
      ping: () => {
        this.events.pinged();
        this.send({ heartbeatPing: { timestampMs: Date.now() } });
      },
      dead: () => this.end(closed(1006, 'no frame from the gateway')),
    });
    this.events.ready(this.session);
    for (const frame of this.early.splice(0)) if (!this.over) this.events.frame(frame);
  }

  private onSocketClosed(code: number, reason: string): void {
    if (this.onClosed) this.onClosed();
    else this.end(closed(code, reason));
  }

  private end(error: MicsError): void {
    if (this.over) return;
    this.abort();
    this.events.ended(error);
  }
}

function closed(code: number, reason: string): MicsError {
  return new MicsError('closed', `connection closed: ${code} ${reason}`, code, reason);
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
