// A cluster for the test: Redis, the hook mock and two gateways on free loopback ports, each ended by its own pid.
// Node 1 has an ADMIN_TOKEN, node 2 has none (open to this machine).
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export const TOKEN = 'a-token-of-the-operator';
const READY_WITHIN_MS = 60_000;
const STOPPED_WITHIN_MS = 20_000;
const BINARY = process.env.MICS_BIN;

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** One process: `output` is the end of what it said, `exit` resolves when it is gone. */
export function start(command, args, env = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const started = { name: `${command} ${args[0]}`, output: '', ended: false, signal: (name) => child.kill(name) };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text) => (started.output = (started.output + text).slice(-8000)));
  }
  started.exit = new Promise((resolve) => {
    child.once('error', (error) => ((started.output += error.message), (started.ended = true), resolve()));
    child.once('exit', () => ((started.ended = true), resolve()));
  });
  started.stop = async (signal = 'SIGTERM') => {
    child.kill('SIGCONT');
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOPPED_WITHIN_MS);
    await started.exit;
    clearTimeout(timer);
  };
  return started;
}

async function until(what, process, condition) {
  const deadline = Date.now() + READY_WITHIN_MS;
  while (!(await condition().catch(() => false))) {
    if (process.ended || Date.now() > deadline) throw new Error(`${what}: not in time\n${process.name}:\n${process.output}`);
    await sleep(100);
  }
}

const ok = (url, headers) => async () => (await fetch(url, { headers, signal: AbortSignal.timeout(2000) })).ok;

export async function startCluster() {
  const [redisPort, hookPort] = [await freePort(), await freePort()];
  const processes = [];
  const keep = (process) => (processes.push(process), process);
  const redis = keep(start('redis-server', ['--port', String(redisPort), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']));
  const startHooks = () =>
    keep(start(BINARY, ['hookmock'], { PORT: String(hookPort), HOOK_BASE_URL: `http://127.0.0.1:${hookPort}` }));
  const hooks = startHooks();
  const nodes = [];
  const stop = () => Promise.all(processes.map((process) => process.stop()));
  try {
    await until('redis listens', redis, async () => redis.output.includes('Ready to accept connections'));
    for (const number of [1, 2]) nodes.push(await startNode(keep, number, redisPort, hookPort));
    for (const node of nodes) await until('the cluster is complete', node.process, () => sees(node, 2));
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes, hooks, startHooks, stop };
}

async function startNode(keep, number, redisPort, hookPort) {
  const [port, adminPort] = [await freePort(), await freePort()];
  const hookUrl = `http://127.0.0.1:${hookPort}`;
  const process = keep(
    start(BINARY, ['gateway'], {
      PORT: String(port),
      BIND_ADDRESS: '127.0.0.1',
      ADMIN_PORT: String(adminPort),
      ...(number === 1 && { ADMIN_TOKEN: TOKEN }),
      NODE_ID: `node-${number}`,
      PUBLIC_ENDPOINT: `http://127.0.0.1:${port}`,
      WORKERS: '1',
      TENANT_AUTH_MAP: JSON.stringify({ t1: hookUrl, 't-2.b': hookUrl }),
      REDIS__CONNECTION: `127.0.0.1:${redisPort}`,
    }),
  );
  const node = { process, ws: `ws://127.0.0.1:${port}/ws`, console: `http://127.0.0.1:${adminPort}/` };
  node.headers = number === 1 ? { authorization: `Bearer ${TOKEN}` } : {};
  await until(`node-${number} is ready`, process, ok(`http://127.0.0.1:${port}/readyz`));
  return node;
}

async function sees(node, count) {
  const response = await fetch(`${node.console}admin/v1/nodes`, { headers: node.headers });
  const { nodes } = await response.json();
  return nodes.filter(({ state }) => state === 'serving').length === count;
}

/** `mics load` for tenant t1, bounded by its own duration. */
export function load(node, options) {
  const args = Object.entries({ url: node.ws, tenantId: 't1', ...options }).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return start(BINARY, ['load', ...args]);
}
