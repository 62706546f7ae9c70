/** The client: states, reconnects, and the ways between application and connection. Platforms add the socket. */
import { Backoff } from './backoff.js';
import type { MessageCrypto } from './crypto.js';
import { Dedup } from './dedup.js';
import type { CloseAction, CloseInfo } from './errors.js';
import { errorAction, MicsError } from './errors.js';
import { IncomingQueue } from './incoming.js';
import type { LinkEvents } from './link.js';
import { Link } from './link.js';
import type { MessageAck, MessageDelivery, MessageRequest, ServerError, ServerFrame } from './messages.js';
import { MessageType } from './messages.js';
import type { LogLevel, MicsClientOptions, MicsConnectParams, MicsSession } from './options.js';
import { MicsClientState } from './options.js';
import { Outgoing } from './outgoing.js';
import type { OpenSocket } from './socket.js';
import { uuidv7 } from './uuid.js';
import { utf8Encode } from './wire.js';

/** A delivery as the application gets it. */
export interface MicsDelivery extends MessageDelivery {
  message: MessageRequest;
  /** The body could not be decrypted and is handed over as it came. */
  decryptFailed: boolean;
}

/** What the application can listen to. All are optional; what they throw is logged and otherwise ignored. */
export interface MicsClientCallbacks {
  onStateChanged?: ((state: MicsClientState) => void) | undefined;
  /** A session was opened: at the start and after every reconnect. */
  onConnected?: ((session: MicsSession) => void) | undefined;
  /** A message came. The next one is handed over when the promise returned here, if any, is settled. */
  onDeliveryReceived?: ((delivery: MicsDelivery) => void | Promise<void>) | undefined;
  /** The outcome of a message, also when it is a local one. */
  onAckReceived?: ((ack: MessageAck) => void) | undefined;
  onServerErrorReceived?: ((error: ServerError) => void) | undefined;
  /** The connection ended. `reconnecting` tells whether the client comes back by itself. */
  onClosed?: ((info: CloseInfo & { reconnecting: boolean }) => void) | undefined;
  /** This many deliveries were dropped here because the application did not take them fast enough. */
  onOverflow?: ((dropped: number) => void) | undefined;
}

/** Counters of one client; all only grow. */
export interface MicsClientStats {
  heartbeatsSent: number;
  /** Connections opened after the first. */
  reconnects: number;
  /** Repeated deliveries that were not handed over. */
  duplicatesDropped: number;
  /** Deliveries lost because the queue was full. */
  deliveriesDropped: number;
}

export interface SendSingleChatParams {
  toUserId: string;
  /** Bytes, or text that is sent as UTF-8. */
  msgBody: Uint8Array | string;
  /** A UUIDv7 when omitted. Unique for this device; to send again under the same id is safe. */
  msgId?: string | undefined;
}

export interface SendGroupChatParams extends Omit<SendSingleChatParams, 'toUserId'> {
  groupId: string;
}

const FRAME_TOO_LARGE = 4401;

/** What all platforms have in common. Use `MicsClient`. */
export class MicsClientBase implements MicsClientCallbacks {
  onStateChanged: MicsClientCallbacks['onStateChanged'];
  onConnected: MicsClientCallbacks['onConnected'];
  onDeliveryReceived: MicsClientCallbacks['onDeliveryReceived'];
  onAckReceived: MicsClientCallbacks['onAckReceived'];
  onServerErrorReceived: MicsClientCallbacks['onServerErrorReceived'];
  onClosed: MicsClientCallbacks['onClosed'];
  onOverflow: MicsClientCallbacks['onOverflow'];

  private state: MicsClientState = MicsClientState.disconnected;
  private params: MicsConnectParams | undefined;
  private session: MicsSession | undefined;
  private link: Link | undefined;
  private linkSince = 0;
  private reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  private leaving: Promise<void> | undefined;
  /** Ends a pending `connect()`. */
  private firstAttempt: { resolve(session: MicsSession): void; reject(error: MicsError): void } | undefined;
  private readonly stats: MicsClientStats = {
    heartbeatsSent: 0,
    reconnects: 0,
    duplicatesDropped: 0,
    deliveriesDropped: 0,
  };
  private readonly backoff: Backoff;
  private readonly dedup: Dedup;
  private readonly outgoing: Outgoing;
  private readonly incoming: IncomingQueue<MessageRequest>;

  protected constructor(
    private readonly options: MicsClientOptions,
    private readonly openSocket: OpenSocket,
    callbacks: MicsClientCallbacks,
  ) {
    this.onStateChanged = callbacks.onStateChanged;
    this.onConnected = callbacks.onConnected;
    this.onDeliveryReceived = callbacks.onDeliveryReceived;
    this.onAckReceived = callbacks.onAckReceived;
    this.onServerErrorReceived = callbacks.onServerErrorReceived;
    this.onClosed = callbacks.onClosed;
    this.onOverflow = callbacks.onOverflow;
    this.backoff = new Backoff(options);
    this.dedup = new Dedup(options.dedupWindow);
    this.outgoing = new Outgoing(options, (ack) => this.call(() => this.onAckReceived?.(ack)));
    this.incoming = new IncomingQueue(
      options.deliveryQueueCapacity,
      (message) => this.handOver(message),
      (dropped) => this.call(() => this.onOverflow?.(dropped)),
    );
  }

  /**
   * Connects and waits for the gateway's `connect_ack`. A refusal or time-out rejects with a {@link MicsError}, and
   * nothing goes on in the background; afterwards the client reconnects by itself.
   */
  connect(params: MicsConnectParams): Promise<MicsSession> {
    if (this.state !== MicsClientState.disconnected) {
      return Promise.reject(new MicsError('invalid_argument', `cannot connect while ${this.state}`));
    }
    this.params = { ...params };
    this.backoff.reset();
    return new Promise((resolve, reject) => {
      this.firstAttempt = { resolve, reject };
      this.setState(MicsClientState.connecting);
      if (this.state === MicsClientState.connecting) this.dial();
    });
  }

  /** Closes the connection and stays disconnected. Messages without an outcome are rejected with `disconnected`. */
  disconnect(): Promise<void> {
    if (this.state === MicsClientState.disconnected) return Promise.resolve();
    if (this.leaving) return this.leaving;
    let left!: () => void;
    // Set first, because callbacks look at it.
    this.leaving = new Promise((resolve) => (left = resolve));
    const { leaving } = this;
    void this.leave().then(left);
    return leaving;
  }

  /** Sends to one user and waits for the outcome. FAILED is an outcome, not an error; `reason` says why. */
  sendSingleChat(params: SendSingleChatParams): Promise<MessageAck> {
    return this.send(MessageType.SINGLE_CHAT, 'toUserId', params.toUserId, params);
  }

  /** Sends to all members of a group; otherwise as `sendSingleChat`. */
  sendGroupChat(params: SendGroupChatParams): Promise<MessageAck> {
    return this.send(MessageType.GROUP_CHAT, 'groupId', params.groupId, params);
  }

  getState(): MicsClientState {
    return this.state;
  }

  /** The session of the present connection, or of the last one. */
  getSession(): MicsSession | undefined {
    return this.session;
  }

  getStats(): MicsClientStats {
    return { ...this.stats };
  }

  private send(
    msgType: MessageType,
    target: 'toUserId' | 'groupId',
    id: string,
    { msgBody, msgId = uuidv7() }: Omit<SendSingleChatParams, 'toUserId'>,
  ): Promise<MessageAck> {
    const blank = [id, msgId].some((text) => typeof text !== 'string' || text.trim() === '');
    if (blank) return Promise.reject(new MicsError('invalid_argument', `${target} and msgId must not be blank`));
    if (this.state !== MicsClientState.connected && this.state !== MicsClientState.reconnecting) {
      return Promise.reject(new MicsError('disconnected', `cannot send while ${this.state}`));
    }
    const body = typeof msgBody === 'string' ? utf8Encode(msgBody) : msgBody;
    const { tenantId = '', userId = '', deviceId = '' } = this.session ?? {};
    const none = { toUserId: '', groupId: '', timestampMs: 0 };
    const request = { ...none, tenantId, userId, deviceId, msgId, msgType, [target]: id, msgBody: body };
    const crypto = this.options.messageCrypto;
    if (!crypto || body.length === 0) return this.outgoing.submit(msgId, () => request);
    // Encrypted once: every attempt sends the same bytes.
    return this.outgoing.submit(msgId, async () => ({ ...request, msgBody: await crypto.encrypt(body) }));
  }

  private dial(): void {
    const link: Link = new Link(this.openSocket, this.options, this.eventsOf(() => link), this.params!);
    this.link = link;
  }

  private eventsOf(link: () => Link): LinkEvents {
    return {
      ready: (session) => this.onReady(link(), session),
      frame: (frame) => this.onFrame(frame),
      pinged: () => this.stats.heartbeatsSent++,
      ended: (error) => {
        this.link = undefined;
        if (this.state === MicsClientState.connected) this.onLost(error);
        else if (this.state === MicsClientState.connecting) this.finish(error);
        else if (this.state === MicsClientState.reconnecting) this.onAttemptFailed(error);
      },
    };
  }

  private onReady(link: Link, session: MicsSession): void {
    this.session = session;
    this.linkSince = Date.now();
    if (this.state === MicsClientState.reconnecting) this.stats.reconnects++;
    this.log('info', 'connected', { nodeId: session.nodeId, traceId: session.traceId });
    this.setState(MicsClientState.connected);
    this.call(() => this.onConnected?.(session));
    // A callback may have called disconnect().
    if (this.leaving) return;
    this.firstAttempt?.resolve(session);
    this.firstAttempt = undefined;
    this.outgoing.start((message) => link.send({ message }));
  }

  private onFrame(frame: ServerFrame): void {
    const { delivery, ack, error } = frame;
    if (delivery?.message) this.onDelivery(delivery.message);
    if (ack) this.outgoing.acked(ack);
    if (error) {
      if (error.code === FRAME_TOO_LARGE) this.outgoing.tooLarge();
      this.call(() => this.onServerErrorReceived?.(error));
    }
  }

  private onDelivery(message: MessageRequest): void {
    const key = this.dedup.key(message);
    if (this.dedup.has(key)) this.stats.duplicatesDropped++;
    else if (this.incoming.push(message)) this.dedup.add(key);
    else this.stats.deliveriesDropped++;
  }

  /** Without encryption and with a plain callback this is done within the frame's event. */
  private handOver(message: MessageRequest): void | Promise<void> {
    const crypto = this.options.messageCrypto;
    if (!crypto || message.msgBody.length === 0) return this.deliver({ message, decryptFailed: false });
    return this.decryptAndDeliver(message, crypto);
  }

  private async decryptAndDeliver(message: MessageRequest, crypto: MessageCrypto): Promise<void> {
    let msgBody: Uint8Array | undefined;
    try {
      msgBody = await crypto.decrypt(message.msgBody);
    } catch {
      this.log('warn', 'a body could not be decrypted', { msgId: message.msgId });
    }
    const decryptFailed = msgBody === undefined;
    await this.deliver({ message: decryptFailed ? message : { ...message, msgBody: msgBody! }, decryptFailed });
  }

  private deliver(delivery: MicsDelivery): void | Promise<void> {
    const failed = (error: unknown): void => this.log('error', 'a callback failed', { error: String(error) });
    try {
      return this.onDeliveryReceived?.(delivery)?.catch?.(failed);
    } catch (error) {
      failed(error);
    }
  }

  private onLost(error: MicsError): void {
    this.outgoing.stop();
    // A connection that ends at once must not start the pauses over.
    if (Date.now() - this.linkSince >= this.options.reconnectMaxDelayMs) this.backoff.reset();
    const action = errorAction(error);
    const reconnecting = this.options.autoReconnect && action !== 'stop';
    this.tellClosed(error, reconnecting);
    if (this.leaving) return;
    if (!reconnecting) return this.finish(error);
    this.setState(MicsClientState.reconnecting);
    this.scheduleReconnect(action);
  }

  private onAttemptFailed(error: MicsError): void {
    const action = errorAction(error);
    if (action !== 'stop') return this.scheduleReconnect(action);
    this.tellClosed(error, false);
    if (!this.leaving) this.finish(error);
  }

  private scheduleReconnect(action: CloseAction): void {
    if (this.leaving) return;
    const pauseMs = Math.round(this.backoff.next(action));
    this.log('debug', 'reconnecting', { pauseMs });
    this.reconnectTimer = setTimeout(() => this.dial(), pauseMs);
  }

  private async leave(): Promise<void> {
    clearTimeout(this.reconnectTimer);
    this.outgoing.stop();
    this.setState(MicsClientState.disposing);
    await this.link?.close();
    this.leaving = undefined;
    this.finish(new MicsError('disconnected', 'disconnect() was called'));
  }

  /** Everything pending gets an outcome before the client is disconnected. */
  private finish(error: MicsError): void {
    this.link = undefined;
    this.params = undefined;
    this.outgoing.stop();
    this.outgoing.failAll(error);
    const first = this.firstAttempt;
    this.firstAttempt = undefined;
    this.setState(MicsClientState.disconnected);
    first?.reject(error);
  }

  private tellClosed(error: MicsError, reconnecting: boolean): void {
    const info = { code: error.closeCode ?? 1006, reason: error.closeReason ?? error.message, reconnecting };
    this.log(reconnecting ? 'info' : 'warn', 'connection closed', info);
    this.call(() => this.onClosed?.(info));
  }

  private setState(state: MicsClientState): void {
    if (this.state === state) return;
    this.state = state;
    this.call(() => this.onStateChanged?.(state));
  }

  private call(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.log('error', 'a callback failed', { error: String(error) });
    }
  }

  private log(level: LogLevel, message: string, fields: Record<string, unknown>): void {
    this.options.logger?.(level, message, fields);
  }
}
