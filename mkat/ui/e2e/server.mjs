// Runs one real mkat for the tests, on a free port with a database of its own, and ends it by its own pid.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const READY_WITHIN_MS = 20_000;
const STOPPED_WITHIN_MS = 15_000;
export const PASSWORD = 'correct horse';

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Gives {origin, api, missing, until, stop}; throws with the server's output if it does not come up. */
export async function startMkat(settings = {}) {
  const binary = process.env.MKAT_BIN;
  if (!binary) throw new Error('MKAT_BIN must name the mkat program');
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'mkat-e2e-'));
  const env = {
    PATH: process.env.PATH, MKAT_PORT: String(port), MKAT_BIND: '127.0.0.1', MKAT_DB: join(folder, 'mkat.db'), MKAT_PASSWORD: PASSWORD,
    MKAT_INSTANCE_NAME: 'under-test', ...settings,
  };
  const child = spawn(binary, [], { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let ended = null;
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { output = (output + text).slice(-8000); });
  const exit = new Promise((resolve) => {
    child.once('error', (error) => resolve(ended = error.message));
    child.once('exit', (code, signal) => resolve(ended = `exit ${code ?? signal}`));
  });
  const origin = `http://127.0.0.1:${port}`;
  const deadline = Date.now() + READY_WITHIN_MS;
  while (!(await isReady(origin))) {
    if (ended === null && Date.now() < deadline) {
      await sleep(50);
      continue;
    }
    child.kill('SIGKILL');
    throw new Error(`${binary} did not get ready (${ended ?? 'still running'}):\n${output}`);
  }
  const api = client(origin);
  const { paths } = await api('GET', '/api/v1/openapi.json');
  return {
    origin,
    api,
    /** Ends of addresses that the page asks for and this server does not have. */
    missing: ['/api/v1/services/{id}/uptime'].filter((path) => !paths[path]).map((path) => path.split('/').at(-1)),
    /** Waits until the answer to a GET holds. */
    async until(path, holds) {
      for (const until = Date.now() + READY_WITHIN_MS; Date.now() < until; await sleep(50)) {
        if (holds(await api('GET', path))) return;
      }
      throw new Error(`${path} did not come to hold`);
    },
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOPPED_WITHIN_MS);
      await exit;
      clearTimeout(timer);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function isReady(origin) {
  try {
    return (await fetch(`${origin}/health`, { signal: AbortSignal.timeout(1000) })).ok;
  } catch {
    return false;
  }
}

/** Calls the API as the operator; throws on a refusal. */
function client(origin) {
  const authorization = `Basic ${Buffer.from(`admin:${PASSWORD}`).toString('base64')}`;
  return async (method, path, body) => {
    const headers = { authorization, ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
    const response = await fetch(`${origin}${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? null : JSON.parse(text);
  };
}
