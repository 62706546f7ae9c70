/** What happens to one event, whatever brought it: verify, recognise repetitions, call your code, try again, give up. */
import type { ConnectAck, MessageRequest } from '../../../ts/src/messages.js';
import { decodeAndVerifyMqEvent, eventKey, tryDecodeConnectAck, tryDecodeMessage } from './events.js';
import type { HookLogger } from './hooks.js';
import type { MqEvent } from './messages.js';
import { EventType } from './messages.js';

/** Your code. Events without a handler are passed over. A rejection means: try again, then dead letter. */
export interface MicsEventHandlers {
  connectOnline?(event: MqEvent, session: ConnectAck): void | Promise<void>;
  connectOffline?(event: MqEvent, session: ConnectAck): void | Promise<void>;
  singleChat?(event: MqEvent, message: MessageRequest): void | Promise<void>;
  groupChat?(event: MqEvent, message: MessageRequest): void | Promise<void>;
  /** Keep `event.eventData`, the message's own bytes, for `event.toUserId`. */
  offlineMessage?(event: MqEvent, message: MessageRequest): void | Promise<void>;
}

/** Remembers the names of events that were handled. */
export interface IdempotencyStore {
  has(key: string): boolean | Promise<boolean>;
  /** Called after the handler succeeded. */
  add(key: string): void | Promise<void>;
}

/** In memory of this process: the last `capacity` events. After a restart the handlers see repetitions again. */
export class MemoryIdempotencyStore implements IdempotencyStore {
  private readonly keys = new Set<string>();

  constructor(private readonly capacity = 100_000) {}

  has(key: string): boolean {
    return this.keys.has(key);
  }

  add(key: string): void {
    this.keys.add(key);
    if (this.keys.size > this.capacity) this.keys.delete(this.keys.values().next().value!);
  }
}

export interface MicsEventProcessorOptions {
  /** The secret of a tenant. */
  tenantSecretProvider: (tenantId: string) => string | undefined | Promise<string | undefined>;
  /** Refuse events without a signature. true. */
  requireSign?: boolean;
  handlers: MicsEventHandlers;
  /** Default: `MemoryIdempotencyStore`. `false`: handlers see repetitions. */
  idempotency?: IdempotencyStore | false;
  /** Calls of a handler that fails, per event. 3. */
  maxAttempts?: number;
  /** Pause before the second attempt in milliseconds; doubles. 200. */
  retryDelayMs?: number;
  logger?: HookLogger;
}

/** `dead`: nobody can handle it as it is; keep it somewhere, with the reason. */
export type ProcessResult =
  | { outcome: 'handled' | 'duplicate' | 'ignored' }
  | { outcome: 'dead'; reason: string };

export class MicsEventProcessor {
  private readonly idempotency: IdempotencyStore | undefined;

  constructor(private readonly options: MicsEventProcessorOptions) {
    const { idempotency } = options;
    this.idempotency = idempotency === false ? undefined : (idempotency ?? new MemoryIdempotencyStore());
  }

  /**
   * Handles the bytes of one event of a tenant's topic. Rejects only when the idempotency store or the secret provider
   * fails: then nothing is lost as long as the caller keeps the event.
   */
  async process(tenantId: string, bytes: Uint8Array, beforeRetry?: () => Promise<void>): Promise<ProcessResult> {
    const requireSign = this.options.requireSign ?? true;
    const tenantSecret = await this.options.tenantSecretProvider(tenantId);
    if (!tenantSecret?.trim() && requireSign) return dead('unknown tenant');
    const verified = decodeAndVerifyMqEvent(bytes, { tenantSecret: tenantSecret ?? '', requireSign });
    if (!verified.ok) return dead(verified.reason);
    const { event } = verified;
    if (event.tenantId !== tenantId) return dead('event of another tenant');
    const call = this.handlerOf(event);
    if (call === 'malformed') return dead('malformed event data');
    if (!call) return { outcome: 'ignored' };
    const key = eventKey(event);
    if (await this.idempotency?.has(key)) return { outcome: 'duplicate' };
    const failure = await this.attempts(call, event, beforeRetry);
    if (failure !== undefined) return dead(`handler failed: ${failure}`);
    await this.idempotency?.add(key);
    return { outcome: 'handled' };
  }

  private handlerOf(event: MqEvent): (() => void | Promise<void>) | 'malformed' | undefined {
    const { handlers } = this.options;
    const session = tryDecodeConnectAck(event);
    const message = tryDecodeMessage(event);
    const withSession = (f?: MicsEventHandlers['connectOnline']) =>
      f && (session ? () => f.call(handlers, event, session) : 'malformed');
    const withMessage = (f?: MicsEventHandlers['singleChat']) =>
      f && (message ? () => f.call(handlers, event, message) : 'malformed');
    switch (event.eventType) {
      case EventType.CONNECT_ONLINE:
        return withSession(handlers.connectOnline);
      case EventType.CONNECT_OFFLINE:
        return withSession(handlers.connectOffline);
      case EventType.SINGLE_CHAT_MSG:
        return withMessage(handlers.singleChat);
      case EventType.GROUP_CHAT_MSG:
        return withMessage(handlers.groupChat);
      case EventType.OFFLINE_MESSAGE:
        return withMessage(handlers.offlineMessage);
      default:
        return undefined;
    }
  }

  /** The last failure, or undefined after a success. */
  private async attempts(
    call: () => void | Promise<void>,
    event: MqEvent,
    beforeRetry: (() => Promise<void>) | undefined,
  ): Promise<string | undefined> {
    const { maxAttempts = 3, retryDelayMs = 200, logger } = this.options;
    for (let attempt = 1; ; attempt++) {
      try {
        await call();
        return undefined;
      } catch (error) {
        const { eventType, msgId, traceId } = event;
        logger?.('warn', 'event handler failed', { attempt, eventType, msgId, traceId, error: String(error) });
        if (attempt >= maxAttempts) return String(error);
      }
      await new Promise((resolve) => setTimeout(resolve, retryDelayMs * 2 ** (attempt - 1)));
      await beforeRetry?.();
    }
  }
}

function dead(reason: string): ProcessResult {
  return { outcome: 'dead', reason };
}
