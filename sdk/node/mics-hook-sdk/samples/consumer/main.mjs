// Prints the events of one tenant.
//   KAFKA_BOOTSTRAP_SERVERS (localhost:9092), TENANT_ID (t1), TENANT_SECRET (dev-secret-t1), REQUIRE_SIGN (false),
//   KAFKA_TOPIC (im-mics-{tenant}-event), KAFKA_GROUP_ID (mics-hook-{tenant})
import kafkajs from 'kafkajs';
import { startMicsEventConsumer } from '@mics/node-hook-sdk';

const { env } = process;
const tenantId = env.TENANT_ID ?? 't1';
const { Kafka, logLevel } = kafkajs;

const who = (event) => `${event.userId}/${event.deviceId}`;
const consumer = await startMicsEventConsumer({
  kafka: new Kafka({
    brokers: (env.KAFKA_BOOTSTRAP_SERVERS ?? 'localhost:9092').split(','),
    logLevel: logLevel.ERROR,
  }),
  tenantIds: [tenantId],
  groupId: env.KAFKA_GROUP_ID,
  topicOf: env.KAFKA_TOPIC ? () => env.KAFKA_TOPIC : undefined,
  tenantSecretProvider: () => env.TENANT_SECRET ?? 'dev-secret-t1',
  requireSign: env.REQUIRE_SIGN === 'true',
  handlers: {
    connectOnline: (event, session) => console.log('online', who(event), session.nodeId),
    connectOffline: (event) => console.log('offline', who(event)),
    singleChat: (event, m) => console.log('single', who(event), '->', m.toUserId, `${m.msgBody.length} bytes`),
    groupChat: (event, m) => console.log('group', who(event), '->', m.groupId, `${m.msgBody.length} bytes`),
    offlineMessage: (event, m) => console.log('kept for', event.toUserId, 'from', m.userId, m.msgId),
  },
  logger: (level, message, fields) => console.error(level, message, JSON.stringify(fields)),
});
console.log(`reading the events of ${tenantId}`);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => consumer.stop());
