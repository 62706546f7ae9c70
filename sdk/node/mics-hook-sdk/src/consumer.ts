/** Reads event topics with kafkajs, or with what looks like it. An event is committed when it was handled or put aside. */
import { dlqTopicName, eventTopicName } from './events.js';
import type { MicsEventProcessorOptions, ProcessResult } from './processor.js';
import { MicsEventProcessor } from './processor.js';

/** The part of a kafkajs message that is used. */
export interface KafkaMessage {
  key: Buffer | null;
  value: Buffer | null;
  offset: string;
}

interface EachMessage {
  topic: string;
  partition: number;
  message: KafkaMessage;
  heartbeat(): Promise<void>;
}

/** The part of `new Kafka(...)` of kafkajs that is used. */
export interface KafkaLike {
  consumer(config: { groupId: string }): {
    connect(): Promise<void>;
    disconnect(): Promise<void>;
    subscribe(options: { topics: string[]; fromBeginning: boolean }): Promise<void>;
    run(options: { partitionsConsumedConcurrently: number; eachMessage(payload: EachMessage): Promise<void> }): Promise<void>;
  };
  producer(config: { allowAutoTopicCreation: boolean }): {
    connect(): Promise<void>;
    disconnect(): Promise<void>;
    send(record: {
      topic: string;
      acks: number;
      messages: { key: Buffer | null; value: Buffer | null; headers: Record<string, string> }[];
    }): Promise<unknown>;
  };
}

export interface MicsEventConsumerOptions extends MicsEventProcessorOptions {
  /** `new Kafka({brokers})` of kafkajs. */
  kafka: KafkaLike;
  /** The tenants whose topics are read. */
  tenantIds: string[];
  /** Default: `mics-hook-{first tenant}`. */
  groupId?: string;
  /** Topic of a tenant; default: `eventTopicName`. */
  topicOf?: (tenantId: string) => string;
  /**
   * Where events go that nobody can handle. Default: `dlqTopicName`, the topic of the gateways' own dead letters, from
   * which `mics dlq replay` sends them again. `false`: they are logged and dropped.
   */
  deadLetterTopicOf?: ((tenantId: string) => string) | false;
  /** Partitions handled at the same time; within one, events stay in order. 3. */
  concurrency?: number;
  /** How long a topic that does not exist yet is waited for at the start, in milliseconds. 30000. */
  topicWaitMs?: number;
  /** Told of every event after it was handled. */
  onResult?: (result: ProcessResult, topic: string) => void;
}

export interface MicsEventConsumer {
  /** Finishes the event at hand, then leaves the group. */
  stop(): Promise<void>;
}

/** Starts reading, from the beginning of topics that this group has not read yet. Rejects when Kafka cannot be reached. */
export async function startMicsEventConsumer(options: MicsEventConsumerOptions): Promise<MicsEventConsumer> {
  const { kafka, tenantIds, topicOf = eventTopicName, concurrency = 3 } = options;
  const processor = new MicsEventProcessor(options);
  const tenants = new Map(tenantIds.map((tenantId) => [topicOf(tenantId), tenantId]));
  const consumer = kafka.consumer({ groupId: options.groupId ?? `mics-hook-${tenantIds[0]}` });
  const deadLetterTopicOf = options.deadLetterTopicOf ?? dlqTopicName;
  const producer = deadLetterTopicOf ? kafka.producer({ allowAutoTopicCreation: true }) : undefined;

  const eachMessage = async ({ topic, partition, message, heartbeat }: EachMessage): Promise<void> => {
    const tenantId = tenants.get(topic)!;
    const result = await processor.process(tenantId, message.value ?? new Uint8Array(0), heartbeat);
    if (result.outcome === 'dead') {
      const at = { topic, partition, offset: message.offset };
      options.logger?.('error', 'event put aside', { ...at, reason: result.reason });
      const headers = { 'mics-reason': result.reason, 'mics-from': `${topic}/${partition}/${message.offset}` };
      const letter = { key: message.key, value: message.value, headers };
      // A failure here fails the whole step: the event is not committed and comes again.
      if (deadLetterTopicOf) await producer!.send({ topic: deadLetterTopicOf(tenantId), acks: -1, messages: [letter] });
    }
    options.onResult?.(result, topic);
  };

  const stop = async (): Promise<void> => {
    await consumer.disconnect();
    await producer?.disconnect();
  };
  try {
    await Promise.all([consumer.connect(), producer?.connect()]);
    await subscribe(() => consumer.subscribe({ topics: [...tenants.keys()], fromBeginning: true }), options.topicWaitMs);
    await consumer.run({ partitionsConsumedConcurrently: concurrency, eachMessage });
  } catch (error) {
    await stop();
    throw error;
  }
  return { stop };
}

/** A tenant's topic may be made by its first event, or by asking for it: one that is missing is asked for again. */
async function subscribe(attempt: () => Promise<void>, waitMs = 30_000): Promise<void> {
  for (const end = Date.now() + waitMs; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if ((error as { type?: string }).type !== 'UNKNOWN_TOPIC_OR_PARTITION' || Date.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
