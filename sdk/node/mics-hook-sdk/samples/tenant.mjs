// The tenant of the samples: who may connect, what may be said, who is in a group, what waits for whom.
//
//   PORT                   8081
//   REQUIRE_SIGN           true
//   TENANT_SECRETS         t1=dev-secret-t1,t2=...
//   GROUP_MEMBERS          group-1=u1|u2|u3,...
//   PUBLIC_URL             where gateways reach the hooks; http://localhost:{PORT}
//   OFFLINE_USE_HOOK_PULL  false; true needs KAFKA_BROKERS for messages to arrive in the store
//   KAFKA_BROKERS          host:port,...
//   DB_PATH                offline.db
import { SqliteOfflineStore, startMicsEventConsumer } from '@mics/node-hook-sdk';
import { openSqlite } from './sqlite.mjs';

const pairs = (text) => text.split(',').filter(Boolean).map((pair) => pair.split(/=(.*)/s).slice(0, 2));

const { env } = process;
const secrets = new Map(pairs(env.TENANT_SECRETS ?? 't1=dev-secret-t1'));
const groups = new Map(pairs(env.GROUP_MEMBERS ?? 'group-1=u1|u2|u3').map(([id, users]) => [id, users.split('|')]));
const offlineUseHookPull = env.OFFLINE_USE_HOOK_PULL === 'true';
const logger = (level, message, fields) => console.error(level, message, JSON.stringify(fields));
const tenantSecretProvider = (tenantId) => secrets.get(tenantId);

export const port = Number(env.PORT ?? 8081);
let publicUrl = env.PUBLIC_URL ?? `http://localhost:${port}`;

const store = offlineUseHookPull ? new SqliteOfflineStore(await openSqlite(env.DB_PATH ?? 'offline.db')) : undefined;

const handlers = {
  auth({ meta, token }) {
    // Here a real tenant asks its session database or checks a JWT.
    const userId = /^valid:(.*\S.*)$/s.exec(token)?.[1];
    if (!userId) return { ok: false, reason: 'invalid token' };
    const tenantSecret = secrets.get(meta.tenantId);
    return { ok: true, userId, config: { hookBaseUrl: publicUrl, tenantSecret, offlineUseHookPull } };
  },
  checkMessage({ message }) {
    const denied = Buffer.from(message?.msgBody ?? []).subarray(0, 4).toString() === 'deny';
    return denied ? { allow: false, reason: 'denied' } : { allow: true };
  },
  getGroupMembers({ groupId }) {
    return { userIds: groups.get(groupId) ?? [] };
  },
  getOfflineMessages(request, { tenantId }) {
    return store ? store.page(tenantId, request) : { ok: true };
  },
};

/** Options for all three servers. */
export const options = { requireSign: env.REQUIRE_SIGN !== 'false', tenantSecretProvider, handlers, logger };

/** Reads the tenants' events, if there is a store to keep them in. */
async function startConsumer() {
  if (!store || !env.KAFKA_BROKERS) return undefined;
  const { Kafka, logLevel } = (await import('kafkajs')).default;
  const kafka = new Kafka({ brokers: env.KAFKA_BROKERS.split(','), clientId: 'hook-sample', logLevel: logLevel.ERROR });
  const consumer = await startMicsEventConsumer({
    kafka,
    tenantIds: [...secrets.keys()],
    groupId: env.GROUP_ID,
    tenantSecretProvider,
    requireSign: options.requireSign,
    handlers: { offlineMessage: (event) => void store.put(event) },
    // The store knows repetitions itself.
    idempotency: false,
    logger,
  });
  const cleaning = setInterval(() => store.expire(), 3600_000).unref();
  return { stop: () => (clearInterval(cleaning), consumer.stop()) };
}

/** Starts everything: `listen(port)` gives the port that it listens on. Ends on SIGINT and SIGTERM. */
export async function run(listen) {
  const consumer = await startConsumer();
  const actual = await listen(port);
  if (!env.PUBLIC_URL) publicUrl = `http://localhost:${actual}`;
  console.log(`listening on ${actual}`);
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, async () => {
      await consumer?.stop();
      process.exit(0);
    });
  }
}
