import { once } from 'node:events';
import type { Server } from 'node:http';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import Fastify from 'fastify';
import { afterEach, describe, expect, test } from 'vitest';
import { Reader, utf8Encode } from '../../../ts/src/wire.js';
import * as sdk from '../src/index.js';
import { MemoryReplayCache } from '../src/index.js';
import { metaOf, SECRET, signed } from './signed.js';

const { AuthRequestCodec, AuthResponseCodec, CheckMessageRequestCodec, CheckMessageResponseCodec } = sdk;
const { GetGroupMembersRequestCodec, GetGroupMembersResponseCodec } = sdk;
const { GetOfflineMessagesRequestCodec, GetOfflineMessagesResponseCodec } = sdk;

type Options = Partial<sdk.MicsHookServerOptions>;
const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0)) await step();
});

const starters = {
  async http(options: sdk.MicsHookServerOptions): Promise<Server> {
    return createServer(sdk.createMicsHookServer(options)).listen(0);
  },
  async express(options: sdk.MicsHookServerOptions): Promise<Server> {
    const app = express();
    app.use('/base/path', sdk.micsHookExpress(options));
    app.use(sdk.micsHookExpress(options));
    app.use(express.json());
    app.post('/other', (req, res) => void res.json(req.body));
    return app.listen(0);
  },
  async fastify(options: sdk.MicsHookServerOptions): Promise<Server> {
    const app = Fastify();
    app.register(sdk.micsHookFastify(options));
    app.register(sdk.micsHookFastify(options), { prefix: '/base/path' });
    app.post('/other', async (req) => req.body);
    await app.listen({ port: 0 });
    cleanup.push(() => app.close());
    return app.server;
  },
};

async function start(kind: keyof typeof starters, options: Options = {}) {
  const logged: [string, any][] = [];
  const server = await starters[kind]({
    tenantSecretProvider: (tenantId) => (tenantId === 't1' ? SECRET : undefined),
    handlers: {},
    timeBudgetMs: 20_000,
    logger: (_, text, fields) => logged.push([text, fields]),
    ...options,
  });
  if (!server.listening) await once(server, 'listening');
  cleanup.push(() => server.close());
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const post = async (path: string, body: Uint8Array, headers: Record<string, string> = {}) => {
    const all = { 'content-type': 'application/protobuf', ...headers };
    const response = await fetch(base + path, { method: 'POST', body: Buffer.from(body), headers: all });
    return { status: response.status, body: new Uint8Array(await response.arrayBuffer()), headers: response.headers };
  };
  return { base, post, logged };
}

const auth = (token = 'valid:u1', more = {}) => signed(AuthRequestCodec, { token, deviceId: 'd1' }, more);
const allowing: sdk.MicsHookHandlers = { auth: ({ token }) => ({ ok: true, userId: token.replace('valid:', '') }) };

describe.each(['http', 'express', 'fastify'] as const)('%s', (kind) => {
  test('the four hooks get typed messages and answer with the meta of the request', async () => {
    const seen: any[] = [];
    const raw = sdk.MessageRequestCodec.encode({ msgId: 'raw' }).finish();
    const { post } = await start(kind, {
      handlers: {
        auth: async (request, { tenantId }) => {
          seen.push(request.token, request.deviceId, tenantId);
          return { ok: true, userId: 'u1', config: { hookBaseUrl: 'http://h', hookQueueTimeoutMs: 0 } };
        },
        checkMessage: ({ message }) => ({ allow: message!.toUserId === 'u2', reason: 'not to you' }),
        getGroupMembers: ({ groupId }) => ({ userIds: [groupId, 'u2'] }),
        getOfflineMessages: ({ cursor }) => ({ ok: true, messages: [{ msgId: 'a' }, raw], nextCursor: `${cursor}!`, hasMore: true }),
      },
    });
    const authed = AuthResponseCodec.decode((await post('/auth', auth('t', { requestId: 'r1' }))).body);
    expect(seen).toEqual(['t', 'd1', 't1']);
    expect(authed).toMatchObject({ ok: true, userId: 'u1', meta: { requestId: 'r1', tenantId: 't1', traceId: 'trace' } });
    expect(authed.config).toMatchObject({ hookBaseUrl: 'http://h', hookQueueTimeoutMs: 0 });
    expect(authed.config).not.toHaveProperty('hookMaxConcurrency');
    const message = { ...sdk.MessageRequestCodec.decode(raw), toUserId: 'u3' };
    const checked = await post('/base/path/check-message?x=1', signed(CheckMessageRequestCodec, { message }));
    expect(CheckMessageResponseCodec.decode(checked.body)).toMatchObject({ allow: false, reason: 'not to you' });
    expect(checked.headers.get('content-type')).toBe('application/protobuf');
    const members = await post('/get-group-members', signed(GetGroupMembersRequestCodec, { groupId: 'g' }));
    expect(GetGroupMembersResponseCodec.decode(members.body).userIds).toEqual(['g', 'u2']);
    const page = await post('/get-offline-messages', signed(GetOfflineMessagesRequestCodec, { userId: 'u', cursor: 'c' }));
    const decoded = GetOfflineMessagesResponseCodec.decode(page.body);
    expect(decoded.messages.map((m) => m.msgId)).toEqual(['a', 'raw']);
    expect(decoded).toMatchObject({ ok: true, nextCursor: 'c!', hasMore: true });
  });

  test('unsigned, tampered, replayed, stale and foreign requests are refused with 200 and a reason', async () => {
    const { post, logged } = await start(kind, { handlers: allowing });
    const reason = async (body: Uint8Array) => {
      const response = await post('/auth', body);
      expect(response.status).toBe(200);
      const { ok, reason } = AuthResponseCodec.decode(response.body);
      return ok ? 'ok' : reason;
    };
    const good = auth();
    expect(await reason(good)).toBe('ok');
    expect(await reason(good)).toBe('replayed request');
    const tampered = Buffer.from(auth());
    tampered[tampered.indexOf('valid:u1') + 7]!++;
    expect(await reason(tampered)).toBe('invalid sign');
    expect(await reason(auth('t', { secret: 'wrong' }))).toBe('invalid sign');
    expect(await reason(AuthRequestCodec.encode({ meta: metaOf(), token: 't' }).finish())).toBe('invalid sign');
    expect(await reason(auth('t', { timestampMs: Date.now() - 301_000 }))).toBe('stale request');
    expect(await reason(auth('t', { timestampMs: Date.now() + 301_000 }))).toBe('stale request');
    expect(await reason(auth('t', { timestampMs: Date.now() - 290_000 }))).toBe('ok');
    expect(await reason(auth('t', { tenantId: 't2' }))).toBe('unknown tenant');
    expect(await reason(auth('t', { tenantId: ' ' }))).toBe('invalid tenant');
    expect(await reason(new Uint8Array(0))).toBe('invalid tenant');
    expect(logged.length).toBe(9);
    expect(JSON.stringify(logged)).not.toMatch(/valid:u1|dev-secret/);
  });

  test('fields that this SDK does not know are covered by the signature and do no harm', async () => {
    const { post } = await start(kind, { handlers: allowing });
    const tail = new Uint8Array([0xc2, 0x3e, 2, 0x61, 0x62, 0xc8, 0x3e, 0xff, 0xff, 0x03]);
    const ok = async (body: Uint8Array) => AuthResponseCodec.decode((await post('/auth', body)).body).ok;
    const newer = Buffer.from(auth('valid:u1', { tail }));
    expect(await ok(newer)).toBe(true);
    const changed = Buffer.from(auth('valid:u1', { tail }));
    changed[changed.length - 7]!++;
    expect(await ok(changed)).toBe(false);
  });

  test('bad requests get a status, and the server lives on', async () => {
    const { base, post } = await start(kind, { handlers: allowing, maxBodyBytes: 2000 });
    expect((await post('/auth', new Uint8Array([1, 2, 3]))).status).toBe(400);
    expect((await post('/auth', new Uint8Array([0x0a, 0xff]))).status).toBe(400);
    expect((await post('/auth', auth('x'.repeat(3000)))).status).toBe(413);
    expect((await post('/auth', auth(), { 'content-type': 'application/json' })).status).toBeOneOf([400, 415]);
    expect((await post('/constructor', auth())).status).toBe(404);
    expect((await fetch(`${base}/auth`)).status).toBeOneOf([404, 405]);
    const chunked = httpRequest(`${base}/auth`, { method: 'POST', headers: { 'content-type': 'application/protobuf' } });
    chunked.on('error', () => {});
    chunked.write(Buffer.alloc(1500));
    chunked.write(Buffer.alloc(1500));
    const [response] = await once(chunked, 'response');
    expect(response.statusCode).toBe(413);
    chunked.destroy();
    const cut = httpRequest(`${base}/auth`, { method: 'POST', headers: { 'content-length': '100' } });
    cut.on('error', () => {});
    cut.write('ab');
    setTimeout(() => cut.destroy(), 20);
    await new Promise((resolve) => cut.on('close', resolve));
    expect(AuthResponseCodec.decode((await post('/auth', auth())).body).ok).toBe(true);
  });

  test('without handlers: auth refuses, check allows, groups are empty, nothing is offline', async () => {
    const { post } = await start(kind);
    const a = AuthResponseCodec.decode((await post('/auth', auth())).body);
    expect(a).toMatchObject({ ok: false, reason: 'auth handler not configured' });
    const c = await post('/check-message', signed(CheckMessageRequestCodec, {}));
    expect(CheckMessageResponseCodec.decode(c.body)).toMatchObject({ allow: true });
    const g = await post('/get-group-members', signed(GetGroupMembersRequestCodec, { groupId: 'g' }));
    expect(GetGroupMembersResponseCodec.decode(g.body)).toMatchObject({ userIds: [] });
    const o = await post('/get-offline-messages', signed(GetOfflineMessagesRequestCodec, { userId: 'u' }));
    expect(GetOfflineMessagesResponseCodec.decode(o.body)).toMatchObject({ ok: true, messages: [], hasMore: false });
  });

  test('a handler that throws is an outage, not a refused token; only a message is refused', async () => {
    const broken = () => Promise.reject(new Error('database away'));
    const throws = () => {
      throw new Error('bug');
    };
    const handlers = { auth: throws, checkMessage: broken, getGroupMembers: broken, getOfflineMessages: broken };
    const { post, logged } = await start(kind, { handlers });
    const failing: [string, Uint8Array][] = [
      ['/auth', auth()],
      ['/get-group-members', signed(GetGroupMembersRequestCodec, {})],
      ['/get-offline-messages', signed(GetOfflineMessagesRequestCodec, {})],
    ];
    for (const [path, body] of failing) {
      const answer = await post(path, body);
      expect([path, answer.status, Buffer.from(answer.body).toString()]).toEqual([path, 500, 'handler error']);
    }
    const c = await post('/check-message', signed(CheckMessageRequestCodec, {}));
    expect(c.status).toBe(200);
    expect(CheckMessageResponseCodec.decode(c.body)).toMatchObject({ allow: false, reason: 'handler error' });
    expect(logged.map(([, fields]) => fields.error)).toContain('Error: database away');
  });

  test('a logger that throws leaves no request without its answer', async () => {
    const logger = (): never => {
      throw new Error('disk full');
    };
    const { post } = await start(kind, { handlers: allowing, logger });
    const refused = await post('/auth', auth('valid:u1', { tenantId: 't2' }));
    expect(AuthResponseCodec.decode(refused.body)).toMatchObject({ ok: false, reason: 'unknown tenant' });
    expect((await post('/auth', new Uint8Array([1, 2, 3]))).status).toBe(400);
  });

  test('the time budget ends the wait with 503 and tells the handler', async () => {
    let aborted = false;
    const auth_ = (_: unknown, { signal }: sdk.HookContext) =>
      new Promise<never>((_, reject) => {
        signal.onabort = () => ((aborted = true), reject(new Error('too late')));
      });
    const { post } = await start(kind, { handlers: { auth: auth_ }, timeBudgetMs: 30 });
    expect((await post('/auth', auth())).status).toBe(503);
    expect(aborted).toBe(true);
  });

  test('signatures may be absent where they are not required, but never wrong', async () => {
    const { post } = await start(kind, { handlers: allowing, requireSign: false });
    const ok = async (body: Uint8Array) => AuthResponseCodec.decode((await post('/auth', body)).body).ok;
    expect(await ok(AuthRequestCodec.encode({ meta: metaOf(), token: 't' }).finish())).toBe(true);
    expect(await ok(auth('t', { secret: 'wrong' }))).toBe(false);
  });
});

test('other routes of Express and Fastify keep their parsers', async () => {
  for (const kind of ['express', 'fastify'] as const) {
    const { post } = await start(kind);
    const answer = await post('/other', utf8Encode('{"a":1}'), { 'content-type': 'application/json' });
    expect(Buffer.from(answer.body).toString()).toBe('{"a":1}');
  }
});

test('hooks behind a body parser say so', async () => {
  const app = express();
  app.use(express.text({ type: '*/*' }));
  app.use(sdk.micsHookExpress({ tenantSecretProvider: () => SECRET, handlers: allowing, timeBudgetMs: 20_000 }));
  const server = app.listen(0);
  await once(server, 'listening');
  cleanup.push(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/auth`;
  const response = await fetch(url, { method: 'POST', body: Buffer.from(auth()), headers: { 'content-type': 'application/protobuf' } });
  expect([response.status, await response.text()]).toEqual([500, 'put the hooks before the body parser']);
});

test('raw bytes of a body parser are taken', async () => {
  const app = express();
  app.use(express.raw({ type: '*/*' }));
  app.use(sdk.micsHookExpress({ tenantSecretProvider: () => SECRET, handlers: allowing, timeBudgetMs: 20_000 }));
  const server = app.listen(0);
  await once(server, 'listening');
  cleanup.push(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/auth`;
  const response = await fetch(url, { method: 'POST', body: Buffer.from(auth()), headers: { 'content-type': 'application/protobuf' } });
  expect(AuthResponseCodec.decode(new Uint8Array(await response.arrayBuffer())).ok).toBe(true);
});

test('times beyond 2^53 do not break a signature', async () => {
  const { splitHookRequest, isValidHookRequest } = await import('../src/signature.js');
  const { createHmac } = await import('node:crypto');
  // meta { tenant_id "t1", request_id "r", timestamp_ms 2^62 + 1 }
  const meta = Buffer.from('0a0274311201721881808080808080804000', 'hex').subarray(0, 17);
  const cleared = Buffer.concat([Buffer.from([0x0a, meta.length]), meta]);
  const time = Buffer.alloc(8);
  time.writeBigInt64LE((1n << 62n) + 1n);
  const sign = createHmac('sha256', SECRET).update(cleared).update('r').update(time).digest('base64');
  const withSign = Buffer.concat([meta, Buffer.from([0x22, sign.length]), Buffer.from(sign)]);
  const parts = splitHookRequest(Buffer.concat([Buffer.from([0x0a, withSign.length]), withSign]));
  expect(new Reader(meta).tag().no).toBe(1);
  expect(isValidHookRequest(SECRET, parts)).toBe(true);
});

test('remembered requests are bounded and forgotten in time', () => {
  let now = 0;
  const cache = new MemoryReplayCache(3, () => now);
  expect(['a', 'b', 'a', 'c', 'd'].map((key) => cache.seen(key, 10))).toEqual([false, false, true, false, false]);
  expect(cache.size).toBe(3);
  now = 11;
  expect(cache.seen('d', 20)).toBe(false);
  expect(cache.size).toBe(1);
});
