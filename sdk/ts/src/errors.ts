/** What can go wrong, and which close codes allow another try. */

/** What a client does after a close code. */
export type CloseAction = 'stop' | 'retry' | 'retry_later';

/** Why a connection ended: the WebSocket close code; 1005 without a code, 1006 when it broke or fell silent. */
export interface CloseInfo {
  code: number;
  reason: string;
}

/** Names of {@link MicsError}s. */
export type MicsErrorCode =
  /** A blank recipient or id, a bad option, or `connect` on a client that is not disconnected. */
  | 'invalid_argument'
  /** The token provider failed. */
  | 'token_failed'
  /** No `connect_ack` within `connectTimeoutMs`. */
  | 'connect_timeout'
  /** `connect_ack` with another code than 1000. */
  | 'connect_refused'
  /** The connection was closed; `closeCode` says how. */
  | 'closed'
  /** The client is not connected, or `disconnect()` was called. */
  | 'disconnected'
  /** No outcome within `sendDeadlineMs`; the message may or may not have arrived. */
  | 'send_deadline'
  /** `sendQueueCapacity` messages are waiting already. */
  | 'queue_full'
  /** A message with this id is still waiting for its ack. */
  | 'duplicate_id'
  /** The body could not be encrypted. */
  | 'crypto_failed';

/** Every error of this SDK. None contains a token or a body. */
export class MicsError extends Error {
  override name = 'MicsError';

  constructor(
    readonly code: MicsErrorCode,
    message: string,
    /** WebSocket close code or `connect_ack` code, where there is one. */
    readonly closeCode?: number,
    /** Text of the close frame. */
    readonly closeReason?: string,
  ) {
    super(message);
  }
}

/** Reasons of a 4001 that tell of the tenant's back end being out of reach, not of a bad token. */
const AUTH_UNREACHABLE = ['hook timeout/failure', 'hook queue rejected', 'auth hook circuit open', 'canceled'];

/** Tells what to do after a connection ended so. Unknown codes: retry. */
export function closeAction(code: number, reason = ''): CloseAction {
  switch (code) {
    case 4001:
      return AUTH_UNREACHABLE.includes(reason) ? 'retry' : 'stop';
    case 1002:
    case 1007:
    case 4002:
    case 4409:
    case 4410:
      return 'stop';
    case 4429:
      return 'retry_later';
    default:
      return 'retry';
  }
}

/** Tells what to do after this error ended an attempt to connect. */
export function errorAction(error: MicsError): CloseAction {
  if (error.code === 'invalid_argument') return 'stop';
  return error.closeCode === undefined ? 'retry' : closeAction(error.closeCode, error.closeReason);
}
