// The operator's console in a real browser against a real cluster.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { chromium } from 'playwright-core';
import { load, startCluster, TOKEN } from './processes.mjs';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
const PATIENCE_MS = 45_000;
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let cluster;
let first;
let second;
let browser;
let context;
let complaints; // what any page's console or any request of it said that it should not
let expected; // what of it a test provokes
let running; // loads of the test

before(async () => {
  cluster = await startCluster();
  [first, second] = cluster.nodes;
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium', args: FLAGS });
});
after(async () => {
  await browser?.close();
  await cluster?.stop();
});

beforeEach(async () => {
  [complaints, expected, running] = [[], [], []];
  context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(PATIENCE_MS);
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  context.on('weberror', (error) => complaints.push(`uncaught: ${error.error()}`));
  context.on('request', (request) => {
    const known = [first, second].some((node) => request.url().startsWith(node.console));
    if (!known) complaints.push(`foreign request: ${request.url()}`);
  });
  await context.exposeFunction('reportViolation', (text) => complaints.push(`policy: ${text}`));
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      window.reportViolation(`${event.violatedDirective} ${event.blockedURI}`);
    });
  });
});
afterEach(async () => {
  await context.close();
  await Promise.all(running.map((process) => process.stop('SIGKILL')));
  assert.deepEqual(complaints.filter((text) => !expected.some((pattern) => pattern.test(text))), []);
});

const isLive = (page) => page.waitForSelector('[data-live=live]');

/** The console of a node, signed in and live. `place` is what stands after `#`. */
async function open(node, place = '') {
  const page = await context.newPage();
  await page.addInitScript((token) => token && sessionStorage.setItem('mics.console.token', token), node === first ? TOKEN : '');
  await page.goto(`${node.console}${place}`);
  await isLive(page);
  return page;
}

function traffic(node, options) {
  const started = load(node, { mode: 'heartbeat', heartbeatSeconds: 5, durationSeconds: 120, ...options });
  running.push(started);
  return started;
}

const number = (text) => Number(text.replaceAll(',', ''));

/** Waits until the number that `selector` shows satisfies `wanted` (an expression of `n`). */
const until = (page, selector, wanted) =>
  page.waitForFunction(
    ([selector, wanted]) => {
      const n = parseFloat(document.querySelector(selector)?.textContent.replaceAll(',', '') ?? '');
      return { '>0': n > 0, '>=20': n >= 20, '=0': n === 0, '=1': n === 1, '=2': n === 2 }[wanted];
    },
    [selector, wanted],
  );

const figure = (name) => `[data-figure="${name}"]`;

async function serious(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations
    .filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join(' | ')}`);
}

test('the files are served with the strict policy, and open without the token that the API wants', async () => {
  const page = await fetch(first.console);
  assert.equal(page.status, 200);
  const policy = page.headers.get('content-security-policy');
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/);
  assert.doesNotMatch(policy, /unsafe|\*/);
  assert.match(policy, /frame-ancestors 'none'/);
  assert.equal((await fetch(`${first.console}admin/v1/overview`)).status, 401);
});

test('an inline script does not run on the page, and this test would see it tried', async () => {
  expected.push(/^policy: script-src-elem inline$/, /Content Security Policy/);
  const page = await open(second);
  await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'window.ran = true';
    document.body.append(script);
  });
  assert.equal(await page.evaluate(() => window.ran), undefined);
  while (!complaints.includes('policy: script-src-elem inline')) await page.waitForTimeout(50);
});

test('the token is asked for, a wrong one is refused, the right one is kept in this tab until sign-out', async () => {
  expected.push(/status of 401/); // the browser's own line about a refused request
  const page = await context.newPage();
  await page.goto(first.console);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.deepEqual(await serious(page), []);
  await page.getByLabel('Token').fill('a guess');
  await page.getByRole('button', { name: 'Show the cluster' }).click();
  await page.getByRole('alert').filter({ hasText: 'the token is not right' }).waitFor();
  await page.getByLabel('Token').fill(TOKEN);
  await page.keyboard.press('Enter');
  await isLive(page);
  await page.reload();
  await isLive(page);
  const stored = await page.evaluate((token) => [document.cookie, JSON.stringify(localStorage), location.href].some((text) => text.includes(token)), TOKEN);
  assert.equal(stored, false, 'in no cookie, local storage or address');

  const other = await context.newPage();
  await other.goto(first.console);
  await other.getByRole('heading', { name: 'Sign in' }).waitFor();

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
});

test('figures follow the traffic of both nodes, and go back when it ends', async () => {
  const page = await open(first);
  await until(page, figure('Nodes'), '=2');
  for (const node of ['node-1', 'node-2']) await page.waitForSelector(`[data-node="${node}"] [data-state=serving]`);
  await until(page, figure('Messages per second'), '=0');

  const options = { mode: 'single-chat', connections: 20, sendQpsPerConn: 10, recipientUrl: second.ws, userPrefix: 'live' };
  const chat = traffic(first, options);
  await until(page, figure('Messages per second'), '>=20');
  await until(page, figure('Deliveries per second'), '>0');
  await until(page, '[data-node="node-1"] [data-cell=connections]', '>0');
  await until(page, '[data-node="node-2"] [data-cell=connections]', '>0');
  await until(page, '[data-tenant="t1"] [data-cell=messages]', '>0');
  await page.waitForFunction(() => /ms CheckMessage/.test(document.querySelector('[data-tenant="t1"] [data-cell=hook]').textContent));
  const branches = await page.locator('[data-branch]').evaluateAll((found) => found.map((branch) => branch.dataset.branch));
  assert.ok(branches.includes('') && branches.includes('t1'), `${branches}`);
  const depths = await page.locator('[data-actor] [data-cell=depth]').allTextContents();
  assert.ok(depths.length >= 4 && depths.every((text) => number(text) >= 0), `${depths}`);
  if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/wide.png`, fullPage: true });

  await chat.stop('SIGKILL');
  await until(page, figure('Messages per second'), '=0');
  await until(page, figure('Connections'), '=0');
});

test('a tenant: limits in force, hooks, node by node, and a user with devices who is kicked after a question', async () => {
  const page = await open(first);
  for (const [node, devicePrefix] of [[first, 'phone-'], [second, 'pad-']]) traffic(node, { userPrefix: 'kick', devicePrefix });
  await until(page, '[data-tenant="t1"] [data-cell=connections]', '=2');
  await page.getByRole('link', { name: 't1', exact: true }).click();
  const panel = page.locator('[data-panel=t1]');
  await panel.locator('[data-limit=tenant_max_connections]').waitFor();
  await panel.locator('[data-limit=hook_breaker_open_ms]').waitFor();
  await panel.locator('[data-hook=Auth] [data-state=closed]').waitFor();
  for (const node of ['node-1', 'node-2']) await until(page, `[data-panel=t1] [data-node="${node}"] [data-cell=connections]`, '=1');

  await panel.getByLabel('User id').fill('kick1');
  await panel.getByRole('button', { name: 'Look up' }).click();
  await panel.locator('[data-presence=online]').waitFor();
  for (const device of ['phone-kick1', 'pad-kick1']) await panel.locator(`[data-device="${device}"]`).waitFor();

  const dialog = page.getByRole('dialog');
  await panel.getByRole('button', { name: 'Kick device phone-kick1…' }).click();
  assert.deepEqual(await serious(page), []);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  assert.equal(await panel.locator('[data-device]').count(), 2, 'a no kicks nobody');

  await panel.getByRole('button', { name: 'Kick device phone-kick1…' }).click();
  await dialog.getByRole('button', { name: 'Kick the device' }).click();
  await panel.locator('[data-kicked="1"]').waitFor();
  await panel.locator('[data-device="phone-kick1"]').waitFor({ state: 'detached' });
  await panel.locator('[data-device="pad-kick1"]').waitFor();

  await panel.getByRole('button', { name: 'Kick all…' }).click();
  await dialog.getByRole('button', { name: 'Kick all' }).click();
  await panel.locator('[data-presence=offline]').waitFor();
  await until(page, '[data-tenant="t1"] [data-cell=connections]', '=0');
});

test('ids that look like markup or paths stay text, and an address of a place can be passed on', async () => {
  expected.push(/status of 404/);
  const [tenant, user] = ['t-2.b', '<img src=x onerror=alert(1)>/../%'];
  const page = await open(second, `#/tenants/${encodeURIComponent(tenant)}/users/${encodeURIComponent(user)}`);
  await page.locator('[data-presence=offline]').waitFor();
  assert.equal(await page.getByRole('heading', { name: `Tenant ${tenant}` }).count(), 1);
  assert.equal(await page.locator('main img, main b').count(), 0);
  await page.getByLabel('Any tenant, by id').fill('nobody');
  await page.getByRole('button', { name: 'Open', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'this node serves no tenant nobody' }).waitFor();
});

test('a breaker that opens is seen, and that it closes', async () => {
  const page = await open(first, '#/tenants/t1');
  traffic(first, { mode: 'single-chat', connections: 4, sendQpsPerConn: 10, userPrefix: 'breaker' });
  await until(page, figure('Messages per second'), '>=20');
  await cluster.hooks.stop('SIGKILL');
  await page.waitForSelector('[data-tenant="t1"] [data-state=open]');
  await page.waitForSelector('[data-panel=t1] [data-hook=CheckMessage] [data-state=open]');
  cluster.startHooks();
  await page.waitForSelector('[data-tenant="t1"] [data-state=closed]');
});

test('figures of a node that is silent are called old, and go on when it is back', async () => {
  const page = await open(second);
  second.process.signal('SIGSTOP');
  try {
    await page.waitForSelector('[data-live=lost]');
    await page.getByRole('alert').filter({ hasText: 'The figures are old.' }).waitFor();
  } finally {
    second.process.signal('SIGCONT');
  }
  await isLive(page);
  await page.waitForSelector('[data-node="node-1"] [data-state=serving]');
});

for (const colorScheme of ['light', 'dark']) {
  test(`on a phone of 360 px, ${colorScheme}: nothing is wider than the page, nothing serious for axe`, async () => {
    traffic(first, { userPrefix: 'small' });
    const page = await open(first, '#/tenants/t1/users/small1');
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme });
    await page.locator('[data-presence=online]').waitFor();
    assert.ok((await page.evaluate(() => document.scrollingElement.scrollWidth)) <= 360);
    assert.deepEqual(await serious(page), []);
    if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/phone-${colorScheme}.png`, fullPage: true });
    await page.getByRole('button', { name: 'Drain node-1…' }).click();
    const box = await page.getByRole('dialog').boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 360, JSON.stringify(box));
    assert.deepEqual(await serious(page), []);
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  });
}

// The last: a drained node does not come back.
test('a node is drained from its own console after a question, and all consoles see it', async () => {
  const [here, there] = [await open(second), await open(first)];
  assert.equal(await there.getByRole('button', { name: 'Drain node-2…' }).count(), 0, 'only from its own');
  await here.getByRole('button', { name: 'Drain node-2…' }).click();
  await here.getByRole('dialog').getByText("It can't be undone").waitFor();
  await here.getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await fetch(`${second.console}readyz`)).status, 200);

  await here.getByRole('button', { name: 'Drain node-2…' }).click();
  await here.getByRole('button', { name: 'Drain this node' }).click();
  await here.waitForSelector('[data-node="node-2"] [data-state=drained]');
  await there.waitForFunction(() => {
    const state = document.querySelector('[data-node="node-2"] [data-state]')?.dataset.state;
    return state === undefined || state === 'drained';
  });
  assert.equal((await fetch(`${second.console}readyz`)).status, 503);
  assert.equal(await here.getByRole('button', { name: 'Drain node-2…' }).count(), 0, 'it is drained once');
});
