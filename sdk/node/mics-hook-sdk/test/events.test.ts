import { expect, test } from 'vitest';
import type { KafkaLike, MicsEventConsumerOptions, MqEvent } from '../src/index.js';
import {
  ConnectAckCodec,
  encodeMqEvent,
  eventKey,
  EventType,
  MicsEventProcessor,
  startMicsEventConsumer,
} from '../src/index.js';
import { eventOf, SECRET } from './signed.js';

const bytesOf = (more: Partial<MqEvent> = {}, body?: string): Uint8Array => encodeMqEvent(eventOf(more, body));
const base = { tenantSecretProvider: (id: string) => (id === 't1' ? SECRET : undefined), retryDelayMs: 1 };

test('each kind of event reaches its handler, typed', async () => {
  const seen: string[] = [];
  const note = (name: string) => (event: MqEvent, data: { tenantId: string }) => void seen.push(`${name} ${event.msgId} ${data.tenantId}`);
  const handlers = {
    connectOnline: note('online'),
    connectOffline: note('offline'),
    singleChat: note('single'),
    groupChat: note('group'),
    offlineMessage: note('kept'),
  };
  const processor = new MicsEventProcessor({ ...base, handlers });
  const session = ConnectAckCodec.encode({ tenantId: 't1' }).finish();
  for (const eventType of Object.values(EventType)) {
    const more = eventType < 2 ? { eventType, eventData: session, msgId: '' } : { eventType };
    expect(await processor.process('t1', bytesOf(more))).toEqual({ outcome: 'handled' });
  }
  expect(seen).toEqual(['online  t1', 'offline  t1', 'single m1 t1', 'group m1 t1', 'kept m1 t1']);
  expect(await processor.process('t1', bytesOf({ eventType: 99 }))).toEqual({ outcome: 'ignored' });
});

test('events that cannot be believed or read are dead', async () => {
  const handlers = { singleChat: () => {} };
  const processor = new MicsEventProcessor({ ...base, handlers });
  const changed = Buffer.from(bytesOf());
  changed[changed.indexOf('hello')]!++;
  const cases: [string, Uint8Array, string][] = [
    ['t1', changed, 'invalid sign'],
    ['t1', encodeMqEvent({ ...eventOf(), sign: '' }), 'invalid sign'],
    ['t1', new Uint8Array([1, 2, 3]), 'malformed event'],
    ['t1', bytesOf({ tenantId: 't2' }), 'event of another tenant'],
    ['t1', bytesOf({ eventData: new Uint8Array([1]) }), 'malformed event data'],
    ['t2', bytesOf(), 'unknown tenant'],
  ];
  for (const [tenantId, bytes, reason] of cases) {
    expect(await processor.process(tenantId, bytes), reason).toEqual({ outcome: 'dead', reason });
  }
  const lax = new MicsEventProcessor({ ...base, handlers, requireSign: false });
  expect(await lax.process('t1', encodeMqEvent({ ...eventOf(), sign: '' }))).toEqual({ outcome: 'handled' });
  expect(await lax.process('t1', changed)).toMatchObject({ reason: 'invalid sign' });
});

test('a repeated event is handled once, a failed one again', async () => {
  let calls = 0;
  let failing = 2;
  const singleChat = () => {
    calls++;
    if (failing-- > 0) throw new Error('away');
  };
  const processor = new MicsEventProcessor({ ...base, handlers: { singleChat }, maxAttempts: 2 });
  expect(await processor.process('t1', bytesOf())).toEqual({ outcome: 'dead', reason: 'handler failed: Error: away' });
  expect(await processor.process('t1', bytesOf())).toEqual({ outcome: 'handled' });
  expect(await processor.process('t1', bytesOf({ timestamp: 2, traceId: 'other', nodeId: 'n2' }))).toEqual({ outcome: 'duplicate' });
  expect(await processor.process('t1', bytesOf({}, 'other body'))).toEqual({ outcome: 'handled' });
  expect(calls).toBe(4);
});

test('names of events tell apart what is apart', () => {
  const keys = [
    eventOf(),
    eventOf({}, 'x'),
    eventOf({ toUserId: 'u3' }),
    eventOf({ eventType: EventType.OFFLINE_MESSAGE }),
    eventOf({ userId: 'u9' }),
    eventOf({ eventType: EventType.CONNECT_ONLINE }),
    eventOf({ eventType: EventType.CONNECT_ONLINE, traceId: 'b' }),
    eventOf({ eventType: EventType.CONNECT_OFFLINE }),
  ].map(eventKey);
  expect(new Set(keys).size).toBe(keys.length);
});

/** kafkajs in memory: hands over one message at a time and commits it when `eachMessage` resolves. */
class FakeKafka implements KafkaLike {
  committed: number[] = [];
  sent: any[] = [];
  groupId = '';
  missing = 2;
  producing = true;
  each!: (payload: any) => Promise<void>;

  consumer({ groupId }: { groupId: string }) {
    this.groupId = groupId;
    return {
      connect: async () => {},
      disconnect: async () => {},
      subscribe: async () => {
        if (this.missing-- > 0) throw Object.assign(new Error('no topic'), { type: 'UNKNOWN_TOPIC_OR_PARTITION' });
      },
      run: async ({ eachMessage }: any) => void (this.each = eachMessage),
    };
  }

  producer() {
    return {
      connect: async () => {},
      disconnect: async () => {},
      send: async (record: any) => {
        if (!this.producing) throw new Error('no broker');
        this.sent.push(record);
      },
    };
  }

  async feed(offset: number, value: Uint8Array): Promise<void> {
    const message = { key: Buffer.from('u1'), value: Buffer.from(value), offset: String(offset) };
    await this.each({ topic: 'im-mics-t1-event', partition: 0, message, heartbeat: async () => {} });
    this.committed.push(offset);
  }
}

const options = (kafka: FakeKafka): MicsEventConsumerOptions => ({
  ...base,
  kafka,
  tenantIds: ['t1'],
  handlers: { singleChat: () => {} },
});

test('dead events go to the dead-letter topic unchanged, with the reason, before they are committed', async () => {
  const kafka = new FakeKafka();
  const consumer = await startMicsEventConsumer(options(kafka));
  expect(kafka.groupId).toBe('mics-hook-t1');
  await kafka.feed(0, bytesOf());
  const bad = encodeMqEvent({ ...eventOf(), sign: 'bad' });
  kafka.producing = false;
  await expect(kafka.feed(1, bad)).rejects.toThrow('no broker');
  kafka.producing = true;
  await kafka.feed(1, bad);
  expect(kafka.committed).toEqual([0, 1]);
  expect(kafka.sent).toEqual([
    {
      topic: 'im-mics-t1-event-dlq',
      acks: -1,
      messages: [
        {
          key: Buffer.from('u1'),
          value: Buffer.from(bad),
          headers: { 'mics-reason': 'invalid sign', 'mics-from': 'im-mics-t1-event/0/1' },
        },
      ],
    },
  ]);
  await consumer.stop();
});

test('a topic that never comes and other failures end the start', async () => {
  const kafka = new FakeKafka();
  kafka.missing = Infinity;
  await expect(startMicsEventConsumer({ ...options(kafka), topicWaitMs: 1 })).rejects.toThrow('no topic');
});
