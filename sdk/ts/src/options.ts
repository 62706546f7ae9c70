/** What the application chooses: limits, times, where to connect and as whom. */
import type { MessageCrypto } from './crypto.js';
import { MicsError } from './errors.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Receives what the client would log. `fields` never holds a token or a body. */
export type Logger = (level: LogLevel, message: string, fields: Record<string, unknown>) => void;

/** Limits and times; all in milliseconds where the name ends in `Ms`. */
export interface MicsClientOptions {
  /** From the first packet to `connect_ack`, the token provider included. 5000. */
  connectTimeoutMs: number;
  /** Wait for an ack before the message is sent again under the same id. 3000. */
  ackTimeoutMs: number;
  /** Times a message is sent before the local ack FAILED `ack timeout`. 3. */
  maxSendAttempts: number;
  /** From the call to the outcome of a send, time spent reconnecting included. 30000. */
  sendDeadlineMs: number;
  /** Interval of `heartbeat_ping`; 0 or less switches heartbeat and watchdog off. 10000. */
  heartbeatIntervalMs: number;
  /** The connection is given up when a ping is not followed by any frame within one interval plus this. 2000. */
  watchdogSlackMs: number;
  /** Come back after a lost connection, unless the close code forbids it. true. */
  autoReconnect: boolean;
  /** Upper end of the first random pause before a reconnect; doubles with every attempt. 200. */
  reconnectMinDelayMs: number;
  /** Upper end of every such pause. 5000. */
  reconnectMaxDelayMs: number;
  /** First pause after 4429; doubles up to twelve times its length. 5000. */
  limitedDelayMs: number;
  /** Messages without an outcome; further sends are refused with `queue_full`. 1024. */
  sendQueueCapacity: number;
  /** Messages on the wire without an ack; further ones wait. 256. */
  maxInFlight: number;
  /** Deliveries that the application has not taken yet; above it they are dropped, told by `onOverflow`. 1024. */
  deliveryQueueCapacity: number;
  /** Deliveries remembered in order to drop repeated ones; 0 switches it off. 1024. */
  dedupWindow: number;
  /** End-to-end encryption of bodies; none by default. */
  messageCrypto?: MessageCrypto | undefined;
  /** Logging hook; none by default. */
  logger?: Logger | undefined;
}

export const MicsClientOptions = {
  /** The defaults, with `overrides` in their place. `invalid_argument` when a value makes no sense. */
  default(overrides: Partial<MicsClientOptions> = {}): MicsClientOptions {
    const options: MicsClientOptions = {
      connectTimeoutMs: 5000,
      ackTimeoutMs: 3000,
      maxSendAttempts: 3,
      sendDeadlineMs: 30000,
      heartbeatIntervalMs: 10000,
      watchdogSlackMs: 2000,
      autoReconnect: true,
      reconnectMinDelayMs: 200,
      reconnectMaxDelayMs: 5000,
      limitedDelayMs: 5000,
      sendQueueCapacity: 1024,
      maxInFlight: 256,
      deliveryQueueCapacity: 1024,
      dedupWindow: 1024,
    };
    for (const [name, value] of Object.entries(overrides)) {
      if (value !== undefined) (options as unknown as Record<string, unknown>)[name] = value;
    }
    check(options);
    if (options.logger) options.logger = harmless(options.logger);
    return options;
  },
};

/** What a logger throws must not end the connection or stop the deliveries. */
function harmless(logger: Logger): Logger {
  return (...line) => {
    try {
      logger(...line);
    } catch {
      // There is nowhere left to tell it.
    }
  };
}

const POSITIVE = [
  'connectTimeoutMs',
  'ackTimeoutMs',
  'maxSendAttempts',
  'sendDeadlineMs',
  'sendQueueCapacity',
  'maxInFlight',
  'deliveryQueueCapacity',
] as const;

function check(options: MicsClientOptions): void {
  for (const name of POSITIVE) {
    if (!(options[name] > 0)) throw new MicsError('invalid_argument', `${name} must be above zero`);
  }
  for (const name of ['reconnectMinDelayMs', 'reconnectMaxDelayMs', 'limitedDelayMs', 'dedupWindow'] as const) {
    if (!(options[name] >= 0)) throw new MicsError('invalid_argument', `${name} must not be negative`);
  }
}

/** Gives the token for each attempt to connect, so that a reconnect never presents an expired one. */
export type TokenProvider = () => string | Promise<string>;

/** Where to connect and as whom. */
export interface MicsConnectParams {
  /** The gateway's `ws://` or `wss://` address; other query parameters are kept. */
  url: string;
  tenantId: string;
  /** A token, or a function that is asked before every attempt to connect. */
  token: string | TokenProvider;
  deviceId: string;
}

/** What the gateway said in `connect_ack`. */
export interface MicsSession {
  tenantId: string;
  userId: string;
  deviceId: string;
  nodeId: string;
  /** Names this connection in the gateway's logs. */
  traceId: string;
}

export const MicsClientState = {
  disconnected: 'disconnected',
  connecting: 'connecting',
  connected: 'connected',
  reconnecting: 'reconnecting',
  /** `disconnect()` was called and the connection is being closed. */
  disposing: 'disposing',
} as const;
export type MicsClientState = (typeof MicsClientState)[keyof typeof MicsClientState];
