/** The SDK in a real browser: WebSocket and WebCrypto of the platform, bundled as a page would. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { accept, ack, FakeGateway } from './gateway.js';

const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find((name) => !spawnSync(name, ['--version']).error);
if (!chromium) console.log('SKIP sdk-ts browser test: no Chromium');

/** Runs in the page. `echo` gateway: every message comes back as a delivery. */
const PAGE = `
  import { AesGcmMessageCrypto, MicsClient, utf8Decode } from './src/index.js';
  const url = new URLSearchParams(location.search).get('gateway');
  const result = {};
  try {
    const messageCrypto = new AesGcmMessageCrypto(new Uint8Array(32).fill(7));
    const client = new MicsClient({ messageCrypto, reconnectMinDelayMs: 1, reconnectMaxDelayMs: 20 });
    const texts = [];
    client.onDeliveryReceived = ({ message, decryptFailed }) => void texts.push(decryptFailed || utf8Decode(message.msgBody));
    const closed = new Promise((resolve) => (client.onClosed = resolve));
    const params = { url, tenantId: 't1', token: 'valid:u1', deviceId: 'd1' };
    result.user = (await client.connect(params)).userId;
    const send = async (msgBody) => (await client.sendSingleChat({ toUserId: 'u1', msgBody })).status;
    result.statuses = [await send('你好'), await send('drain me')];
    result.code = (await closed).code;
    result.statuses.push(await send('again'));
    result.texts = texts;
    await client.disconnect();
    result.state = client.getState();
    result.refused = await client.connect({ ...params, token: 'bad' }).catch((error) => error.closeCode);
  } catch (error) {
    result.error = String(error);
  }
  await fetch('/result', { method: 'POST', body: JSON.stringify(result) });
`;

async function bundle(): Promise<string> {
  const root = new URL('..', import.meta.url).pathname;
  const { outputFiles } = await build({
    stdin: { contents: PAGE, resolveDir: root, loader: 'js' },
    alias: { '#platform': join(root, 'src/platform/web.ts') },
    tsconfigRaw: '{}',
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
  });
  return outputFiles[0]!.text;
}

test.skipIf(!chromium)('connect, encrypt, come back and be refused in Chromium', { timeout: 60_000 }, async () => {
  const script = await bundle();
  const gateway = await FakeGateway.start({
    onConnect: (peer) => {
      if (peer.query.get('token') === 'bad') return peer.ws.close(4001, 'bad token');
      accept(peer);
    },
    onMessage: (peer, message) => {
      peer.send({ delivery: { message } });
      peer.send({ ack: ack(message.msgId) });
      if (peer.messages.length === 2) peer.ws.close(4200, 'server draining');
    },
  });
  let report!: (result: unknown) => void;
  const result = new Promise<unknown>((resolve) => (report = resolve));
  const server = createServer(async (req, res) => {
    if (req.url === '/result') report(JSON.parse((await req.toArray()).join('')));
    const isScript = req.url === '/page.js';
    res.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    res.end(isScript ? script : '<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const profile = mkdtempSync(join(tmpdir(), 'mics-browser-'));
  const page = `http://127.0.0.1:${(server.address() as AddressInfo).port}/?gateway=${encodeURIComponent(gateway.url)}`;
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', `--user-data-dir=${profile}`];
  const browser = spawn(chromium!, [...flags, '--remote-debugging-port=0', page], { stdio: 'ignore' });
  try {
    expect(await result).toEqual({
      user: 'u1',
      statuses: [0, 0, 0],
      code: 4200,
      texts: ['你好', 'drain me', 'again'],
      state: 'disconnected',
      refused: 4001,
    });
    expect(gateway.messages.every((m) => m.msgBody[0] === 1)).toBe(true);
  } finally {
    browser.kill('SIGKILL');
    await once(browser, 'exit');
    server.close();
    await gateway.stop();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
});
