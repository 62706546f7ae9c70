// Runs one `mics dev` for a test, on a free port, and ends it by its own pid.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const READY_WITHIN_MS = 20_000;
const STOPPED_WITHIN_MS = 15_000; // the default drain is 10 s
const binary = process.env.MICS_BIN ?? new URL('../../target/release/mics', import.meta.url).pathname;

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts the gateway and waits until /readyz says ok. Gives {url, stop()}; throws with its output if it does not come up. */
export async function startGateway(port) {
  const child = spawn(binary, ['dev'], { env: { ...process.env, PORT: String(port) }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let ended = null;
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { output = (output + text).slice(-8000); });
  const exit = new Promise((resolve) => {
    child.once('error', (error) => resolve(ended = error.message));
    child.once('exit', (code, signal) => resolve(ended = `exit ${code ?? signal}`));
  });
  const url = `http://localhost:${port}/`;
  const deadline = Date.now() + READY_WITHIN_MS;
  while (!(await isReady(url))) {
    if (ended === null && Date.now() < deadline) {
      await sleep(100);
      continue;
    }
    child.kill('SIGKILL');
    throw new Error(`${binary} dev did not get ready (${ended ?? 'still running'}):\n${output}`);
  }
  return { url, stop: () => stop(child, exit) };
}

async function isReady(url) {
  try {
    return (await fetch(`${url}readyz`, { signal: AbortSignal.timeout(1000) })).ok;
  } catch {
    return false;
  }
}

async function stop(child, exit) {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOPPED_WITHIN_MS);
  await exit;
  clearTimeout(timer);
}
