/** The four hooks without a web server: from the bytes of a request to those of its answer. */
import type { MessageRequest } from '../../../ts/src/messages.js';
import type { Codec } from '../../../ts/src/wire.js';
import { WireError } from '../../../ts/src/wire.js';
import type * as m from './messages.js';
import * as codecs from './messages.js';
import type { ReplayCache } from './replay.js';
import { MemoryReplayCache } from './replay.js';
import { isValidHookRequest, splitHookRequest } from './signature.js';

/** What a handler may know beside the message. */
export interface HookContext {
  tenantId: string;
  /** Aborted when the time budget is used up: nobody waits for the answer any more. */
  signal: AbortSignal;
}

type Reply<T> = { [K in keyof T]?: T[K] | undefined };

/** `config` needs only the fields that matter. */
export type AuthReply = Reply<Omit<m.AuthResponse, 'config'>> & { config?: Partial<m.TenantRuntimeConfig> | undefined };
export type CheckMessageReply = Reply<m.CheckMessageResponse>;
export type GetGroupMembersReply = Reply<m.GetGroupMembersResponse>;
/** A message given as bytes reaches the client byte for byte, unknown fields included. */
export type GetOfflineMessagesReply = Reply<Omit<m.GetOfflineMessagesResponse, 'messages'>> & {
  messages?: (Partial<MessageRequest> | Uint8Array)[] | undefined;
};

type Handler<Request, Answer> = (request: Request, context: HookContext) => Answer | Promise<Answer>;

/** Your code. Each may be absent: auth then refuses, check allows, groups are empty, nothing is offline. */
export interface MicsHookHandlers {
  auth?: Handler<m.AuthRequest, AuthReply>;
  checkMessage?: Handler<m.CheckMessageRequest, CheckMessageReply>;
  getGroupMembers?: Handler<m.GetGroupMembersRequest, GetGroupMembersReply>;
  getOfflineMessages?: Handler<m.GetOfflineMessagesRequest, GetOfflineMessagesReply>;
}

export type HookLogger = (level: 'warn' | 'error', message: string, fields: Record<string, unknown>) => void;

export interface MicsHookServerOptions {
  /** Refuse requests without a signature. A signature that is there must be right in any case. true. */
  requireSign?: boolean;
  /** The secret of a tenant; undefined or empty = unknown tenant. */
  tenantSecretProvider: (tenantId: string) => string | undefined | Promise<string | undefined>;
  handlers: MicsHookHandlers;
  /** How far a signed request's time may be from this clock, either way, in milliseconds. 300000. */
  maxClockSkewMs?: number;
  /** Recognises copies of signed requests; `false` switches it off. In memory. */
  replayCache?: ReplayCache | false;
  /** Larger bodies are refused with 413. 2 MiB. */
  maxBodyBytes?: number;
  /** Time for one answer; afterwards 503. The gateway waits 150 ms in all. 140. */
  timeBudgetMs?: number;
  /** Logging hook; never gets tokens, bodies or signatures. None. */
  logger?: HookLogger;
  /** For tests. */
  now?: () => number;
}

/** One HTTP request, whatever the server. */
export interface HookHttpRequest {
  method: string;
  /** With or without query and base path: the last segment decides. */
  path: string;
  contentType: string | undefined;
  body: Uint8Array;
}

export interface HookHttpResponse {
  status: number;
  body: Uint8Array;
}

interface Operation {
  handler: keyof MicsHookHandlers;
  request: Codec<any>;
  response: Codec<any>;
  /** Answer without a handler. */
  absent: object;
  refusal: (reason: string) => object;
  /** After an exception: 500, which the gateway takes for an outage, or a refusal with 200. */
  onError: 'fail' | 'refuse';
}

/** By the last segment of the path. */
const OPERATIONS: Record<string, Operation> = {
  auth: {
    handler: 'auth',
    request: codecs.AuthRequestCodec,
    response: codecs.AuthResponseCodec,
    absent: { ok: false, reason: 'auth handler not configured' },
    refusal: (reason) => ({ ok: false, reason }),
    // Not a refusal: clients give a refused token up, and would be logged out by an outage.
    onError: 'fail',
  },
  'check-message': {
    handler: 'checkMessage',
    request: codecs.CheckMessageRequestCodec,
    response: codecs.CheckMessageResponseCodec,
    absent: { allow: true },
    refusal: (reason) => ({ allow: false, reason }),
    // Not a 500: the gateway lets a message pass that the hook failed to check.
    onError: 'refuse',
  },
  'get-group-members': {
    handler: 'getGroupMembers',
    request: codecs.GetGroupMembersRequestCodec,
    response: codecs.GetGroupMembersResponseCodec,
    absent: {},
    refusal: () => ({}),
    // Not an empty list: that is an empty group.
    onError: 'fail',
  },
  'get-offline-messages': {
    handler: 'getOfflineMessages',
    request: codecs.GetOfflineMessagesRequestCodec,
    response: codecs.GetOfflineMessagesResponseCodec,
    absent: { ok: true },
    refusal: (reason) => ({ ok: false, reason }),
    onError: 'fail',
  },
};

export const CONTENT_TYPE = 'application/protobuf';
/** What a request may say that it is; to say nothing is fine, too. */
export const CONTENT_TYPES = [CONTENT_TYPE, 'application/x-protobuf', 'application/octet-stream'];
/** The names of the hooks: the last segments of their paths. */
export const HOOKS = Object.keys(OPERATIONS);

const LATE = Symbol('late');

/** The name of the hook that a path means, or undefined. */
export function hookOf(path: string): string | undefined {
  const name = path.split('?', 1)[0]!.replace(/\/$/, '').split('/').pop()!;
  return Object.hasOwn(OPERATIONS, name) ? name : undefined;
}

/** Answers hook requests; never rejects. */
export class HookDispatcher {
  /** Longest body that is answered; longer ones need not be read. */
  readonly maxBodyBytes: number;
  private readonly replays: ReplayCache | undefined;

  constructor(private readonly options: MicsHookServerOptions) {
    this.maxBodyBytes = options.maxBodyBytes ?? (2 << 20);
    this.replays = options.replayCache === false ? undefined : (options.replayCache ?? new MemoryReplayCache());
  }

  async handle(http: HookHttpRequest): Promise<HookHttpResponse> {
    const name = hookOf(http.path);
    if (!name) return plain(404, 'no such hook');
    if (http.method !== 'POST') return plain(405, 'POST only');
    const type = (http.contentType ?? '').split(';', 1)[0]!.trim().toLowerCase();
    if (type !== '' && !CONTENT_TYPES.includes(type)) return plain(415, `need ${CONTENT_TYPE}`);
    if (http.body.length > this.maxBodyBytes) return plain(413, 'body too large');
    try {
      return await this.dispatch(name, OPERATIONS[name]!, http.body);
    } catch (error) {
      if (error instanceof WireError) return plain(400, 'malformed message');
      this.log('error', 'hook failed', { hook: name, error: String(error) });
      return plain(500, 'hook failed');
    }
  }

  private async dispatch(name: string, operation: Operation, body: Uint8Array): Promise<HookHttpResponse> {
    const request: { meta?: m.HookMeta } = operation.request.decode(body);
    const answer = (reply: object): HookHttpResponse => {
      const meta = request.meta ? { meta: request.meta } : {};
      return { status: 200, body: operation.response.encode({ ...meta, ...reply }).finish() };
    };
    const work = new AbortController();
    const late = new Promise<typeof LATE>((resolve) => work.signal.addEventListener('abort', () => resolve(LATE)));
    const timer = setTimeout(() => work.abort(), this.options.timeBudgetMs ?? 140);
    try {
      const refusal = await Promise.race([this.refusal(request.meta, body), late]);
      if (refusal === LATE) return this.late(name, request.meta);
      if (refusal) {
        this.log('warn', 'hook request refused', { hook: name, reason: refusal, ...idsOf(request.meta) });
        return answer(operation.refusal(refusal));
      }
      const handler = this.options.handlers[operation.handler] as Handler<object, object> | undefined;
      if (!handler) return answer(operation.absent);
      const context = { tenantId: request.meta!.tenantId, signal: work.signal };
      const reply = await Promise.race([handler(request, context), late]);
      return reply === LATE ? this.late(name, request.meta) : answer(reply);
    } catch (error) {
      this.log('error', 'handler failed', { hook: name, error: String(error), ...idsOf(request.meta) });
      return operation.onError === 'fail' ? plain(500, 'handler error') : answer(operation.refusal('handler error'));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Why the request is not to be believed; undefined when it is. */
  private async refusal(meta: m.HookMeta | undefined, body: Uint8Array): Promise<string | undefined> {
    const tenantId = meta?.tenantId ?? '';
    if (tenantId.trim() === '') return 'invalid tenant';
    const secret = await this.options.tenantSecretProvider(tenantId);
    if (!secret?.trim()) return 'unknown tenant';
    const parts = splitHookRequest(body);
    if (parts.sign === '') return (this.options.requireSign ?? true) ? 'invalid sign' : undefined;
    if (!isValidHookRequest(secret, parts)) return 'invalid sign';
    const skew = this.options.maxClockSkewMs ?? 300_000;
    const { requestId, timestampMs } = meta!;
    if (Math.abs((this.options.now ?? Date.now)() - timestampMs) > skew) return 'stale request';
    // Remembered as long as its time can pass the check above.
    const copy = await this.replays?.seen(JSON.stringify([tenantId, requestId]), timestampMs + skew + 1);
    return copy ? 'replayed request' : undefined;
  }

  private late(hook: string, meta: m.HookMeta | undefined): HookHttpResponse {
    this.log('warn', 'time budget used up', { hook, ...idsOf(meta) });
    return plain(503, 'time budget used up');
  }

  private log(level: 'warn' | 'error', message: string, fields: Record<string, unknown>): void {
    try {
      this.options.logger?.(level, message, fields);
    } catch {
      // A logger that throws must not leave a request without its answer.
    }
  }
}

function plain(status: number, text: string): HookHttpResponse {
  return { status, body: Buffer.from(text) };
}

function idsOf(meta: m.HookMeta | undefined): Record<string, unknown> {
  return { tenantId: meta?.tenantId, requestId: meta?.requestId, traceId: meta?.traceId };
}
