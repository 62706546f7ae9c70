/** A gateway in this process: a real WebSocket server whose behaviour each test writes down. */
import type { AddressInfo } from 'node:net';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import type { MessageAck, MessageRequest, ServerFrame } from '../src/messages.js';
import { ClientFrameCodec, ServerFrameCodec } from '../src/messages.js';

export interface Peer {
  ws: WebSocket;
  query: URLSearchParams;
  /** Messages that came on this connection. */
  messages: MessageRequest[];
  pings: number;
  send(frame: ServerFrame): void;
}

export interface Behaviour {
  /** Called for each connection; the default accepts it. */
  onConnect?: (peer: Peer, count: number) => void;
  /** Called for each message; the default acks it. */
  onMessage?: (peer: Peer, message: MessageRequest) => void;
  /** Answer pings? Default true. */
  pong?: boolean;
}

export class FakeGateway {
  readonly peers: Peer[] = [];
  behaviour: Behaviour = {};
  private constructor(private readonly server: WebSocketServer) {
    server.on('connection', (ws, request) => this.accept(ws, new URL(request.url!, 'ws://h').searchParams));
  }

  static async start(behaviour: Behaviour = {}): Promise<FakeGateway> {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', path: '/ws' });
    await new Promise((resolve) => server.once('listening', resolve));
    const gateway = new FakeGateway(server);
    gateway.behaviour = behaviour;
    return gateway;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}/ws`;
  }

  get last(): Peer {
    return this.peers.at(-1)!;
  }

  /** All messages of all connections, in order of arrival per connection. */
  get messages(): MessageRequest[] {
    return this.peers.flatMap((peer) => peer.messages);
  }

  async stop(): Promise<void> {
    for (const { ws } of this.peers) ws.terminate();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private accept(ws: WebSocket, query: URLSearchParams): void {
    const send = (frame: ServerFrame): void => ws.send(ServerFrameCodec.encode(frame).finish());
    const peer: Peer = { ws, query, messages: [], pings: 0, send };
    this.peers.push(peer);
    ws.on('message', (data: Buffer) => this.onFrame(peer, data));
    if (this.behaviour.onConnect) this.behaviour.onConnect(peer, this.peers.length);
    else accept(peer);
  }

  private onFrame(peer: Peer, data: Buffer): void {
    const { message, heartbeatPing } = ClientFrameCodec.decode(data);
    if (heartbeatPing) {
      peer.pings++;
      if (this.behaviour.pong !== false) peer.send({ heartbeatPong: { timestampMs: Date.now() } });
    }
    if (!message) return;
    peer.messages.push(message);
    if (this.behaviour.onMessage) this.behaviour.onMessage(peer, message);
    else peer.send({ ack: ack(message.msgId) });
  }
}

export function accept(peer: Peer, code = 1000): void {
  const deviceId = peer.query.get('deviceId')!;
  const userId = peer.query.get('token')!.replace('valid:', '');
  const tenantId = peer.query.get('tenantId')!;
  peer.send({ connectAck: { code, tenantId, userId, deviceId, nodeId: 'node-1', traceId: 'trace' } });
}

export function ack(msgId: string, more: Partial<MessageAck> = {}): MessageAck {
  return {
    msgId,
    status: 0,
    timestampMs: 1,
    reason: '',
    partialDelivery: false,
    offlineNotifiedUsers: 0,
    offlineBufferedUsers: 0,
    offlineSkippedUsers: 0,
    ...more,
  };
}

export function chat(msgId: string, body: Uint8Array | string, more: Partial<MessageRequest> = {}): MessageRequest {
  const msgBody = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  const who = { tenantId: 't1', userId: 'u2', deviceId: 'd2', toUserId: 'u1', groupId: '' };
  return { ...who, msgId, msgType: 0, msgBody, timestampMs: 1, ...more };
}

/** Waits for a condition; fails after a generous time. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const end = Date.now() + 15_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
