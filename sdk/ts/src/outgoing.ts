/** Messages on their way out: order, retries under the same id, deadlines, and the bound on their number. */
import { MicsError } from './errors.js';
import type { MessageAck, MessageRequest } from './messages.js';
import { AckStatus } from './messages.js';
import type { MicsClientOptions } from './options.js';

type Timer = ReturnType<typeof setTimeout>;

interface Entry {
  readonly order: number;
  readonly msgId: string;
  /** Missing while the body is being encrypted. */
  request?: MessageRequest;
  attempts: number;
  /** On the wire and waiting for its ack. */
  written: boolean;
  ackTimer?: Timer;
  deadline: Timer;
  resolve(ack: MessageAck): void;
  reject(error: MicsError): void;
}

export class Outgoing {
  private readonly byId = new Map<string, Entry>();
  /** To be written, in order. */
  private queue: Entry[] = [];
  private inFlight = 0;
  private nextOrder = 0;
  private write: ((request: MessageRequest) => void) | undefined;

  constructor(
    private readonly options: MicsClientOptions,
    private readonly onAck: (ack: MessageAck) => void,
  ) {}

  /** Takes a message over. Its place in the order is taken now, even if its body is still being made. */
  submit(msgId: string, make: () => MessageRequest | Promise<MessageRequest>): Promise<MessageAck> {
    if (this.byId.has(msgId)) return reject('duplicate_id', `message id ${msgId} is already in flight`);
    if (this.byId.size >= this.options.sendQueueCapacity) return reject('queue_full', 'too many messages are waiting');
    return new Promise((resolve, reject) => {
      const late = (): void => this.fail(entry, new MicsError('send_deadline', 'no outcome before the send deadline'));
      const deadline = setTimeout(late, this.options.sendDeadlineMs);
      const entry: Entry = { order: this.nextOrder++, msgId, attempts: 0, written: false, deadline, resolve, reject };
      this.byId.set(msgId, entry);
      this.queue.push(entry);
      void this.prepare(entry, make);
    });
  }

  /** A connection is there: everything without an outcome is written, in the original order. */
  start(write: (request: MessageRequest) => void): void {
    this.write = write;
    this.pump();
  }

  /** The connection is gone. An attempt that it cut short does not count. */
  stop(): void {
    this.write = undefined;
    this.inFlight = 0;
    for (const entry of this.byId.values()) {
      clearTimeout(entry.ackTimer);
      if (entry.written) entry.attempts--;
      entry.written = false;
    }
    this.queue = [...this.byId.values()];
  }

  /** The gateway's answer to a message. */
  acked(ack: MessageAck): void {
    const entry = this.byId.get(ack.msgId);
    if (entry) this.settle(entry, ack);
  }

  /** The gateway's `frame too large` names no message: it is the largest one on the wire. */
  tooLarge(): void {
    const size = (entry: Entry): number => entry.request?.msgBody.length ?? 0;
    const written = [...this.byId.values()].filter((entry) => entry.written);
    const largest = written.reduce<Entry | undefined>((a, b) => (a && size(a) >= size(b) ? a : b), undefined);
    if (largest) this.settle(largest, localAck(largest.msgId, 'frame too large'));
  }

  /** Ends every message with this error. */
  failAll(error: MicsError): void {
    for (const entry of [...this.byId.values()]) this.fail(entry, error);
  }

  private async prepare(entry: Entry, make: () => MessageRequest | Promise<MessageRequest>): Promise<void> {
    try {
      const made = make();
      // Without encryption the message is written within the call.
      entry.request = made instanceof Promise ? await made : made;
      this.pump();
    } catch {
      this.fail(entry, new MicsError('crypto_failed', 'the body could not be encrypted'));
    }
  }

  private pump(): void {
    while (this.write && this.inFlight < this.options.maxInFlight && this.queue[0]?.request) {
      const entry = this.queue.shift()!;
      const { write } = this;
      entry.attempts++;
      entry.written = true;
      this.inFlight++;
      entry.ackTimer = setTimeout(() => this.silent(entry), this.options.ackTimeoutMs);
      write({ ...entry.request!, timestampMs: Date.now() });
    }
  }

  /** No ack in time. */
  private silent(entry: Entry): void {
    if (entry.attempts >= this.options.maxSendAttempts) {
      return this.settle(entry, localAck(entry.msgId, 'ack timeout'));
    }
    entry.written = false;
    this.inFlight--;
    const later = this.queue.findIndex((other) => other.order > entry.order);
    this.queue.splice(later < 0 ? this.queue.length : later, 0, entry);
    this.pump();
  }

  private settle(entry: Entry, ack: MessageAck): void {
    this.remove(entry);
    this.onAck(ack);
    entry.resolve(ack);
    this.pump();
  }

  private fail(entry: Entry, error: MicsError): void {
    if (this.byId.get(entry.msgId) !== entry) return;
    this.remove(entry);
    entry.reject(error);
    this.pump();
  }

  private remove(entry: Entry): void {
    clearTimeout(entry.ackTimer);
    clearTimeout(entry.deadline);
    this.byId.delete(entry.msgId);
    if (entry.written) this.inFlight--;
    else this.queue = this.queue.filter((other) => other !== entry);
  }
}

/** The ack a client makes up itself when the gateway said nothing about this message. */
function localAck(msgId: string, reason: string): MessageAck {
  return {
    msgId,
    status: AckStatus.FAILED,
    timestampMs: Date.now(),
    reason,
    partialDelivery: false,
    offlineNotifiedUsers: 0,
    offlineBufferedUsers: 0,
    offlineSkippedUsers: 0,
  };
}

function reject(code: 'duplicate_id' | 'queue_full', message: string): Promise<never> {
  return Promise.reject(new MicsError(code, message));
}
