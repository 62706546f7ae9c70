// The dev chat page in a real browser against a real `mics dev`: several tabs of one browser, each another user.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { chromium } from 'playwright-core';
import { freePort, startGateway } from './gateway.mjs';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
const TIMEOUT_MS = 15_000;

let port;
let gateway;
let browser;
let context;
let complaints; // what any tab's console or any request of it said that it should not
let run = 0; // makes users of one test strangers to the next

before(async () => {
  port = await freePort();
  gateway = await startGateway(port);
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium', args: FLAGS });
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

beforeEach(async () => {
  run += 1;
  complaints = [];
  context = await browser.newContext();
  context.setDefaultTimeout(TIMEOUT_MS);
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  context.on('weberror', (error) => complaints.push(`uncaught: ${error.error()}`));
  context.on('request', (request) => {
    if (!request.url().startsWith(gateway.url) && !request.url().startsWith('data:')) complaints.push(`foreign request: ${request.url()}`);
  });
});
afterEach(async () => {
  await context.close();
  assert.deepEqual(complaints, []);
});

/** A tab connected as `user`. */
async function openTab(user, device = '') {
  const page = await context.newPage();
  await page.goto(`${gateway.url}?user=${user}${device && `&device=${device}`}`);
  await isConnected(page);
  return page;
}
const isConnected = (page) => page.waitForSelector('#connection[data-state=connected]');

async function talkTo(page, kind, name) {
  const button = page.locator(`[data-conversation="${kind}:${name}"]`);
  if (await button.count()) return button.click();
  await page.selectOption('#add-kind', kind);
  await page.fill('#add-name', name);
  await page.click('#add');
}

async function say(page, text) {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
}

/** Waits for the message with this text and, when given, this state; gives its locator. */
async function message(page, text, state) {
  const found = page.locator(`.msg${state ? `[data-state=${state}]` : ''}`).filter({ has: page.getByText(text, { exact: true }) });
  await found.waitFor();
  return found;
}
const bodies = (page) => page.locator('.msg .body').allTextContents();
/** The users and their conversation names are fresh in every test. */
const name = (user) => `${user}-${run}`;

test('two tabs talk to each other, both ways, and see their acks', async () => {
  const [ann, bob] = [await openTab(name('ann')), await openTab(name('bob'))];
  await talkTo(ann, 'user', name('bob'));
  await talkTo(bob, 'user', name('ann'));

  await say(ann, 'hello bob');
  await message(bob, 'hello bob', 'received');
  const sent = await message(ann, 'hello bob', 'sent');
  assert.match(await sent.locator('.ack').textContent(), /^sent/);

  await say(bob, 'grüß dich, 安 🦀');
  await message(ann, 'grüß dich, 安 🦀', 'received');
  await message(bob, 'grüß dich, 安 🦀', 'sent');
  assert.deepEqual(await bodies(ann), await bodies(bob));
});

test('markup in a message stays text', async () => {
  const [ann, bob] = [await openTab(name('ann')), await openTab(name('bob'))];
  const text = '<img src=x onerror=alert(1)><b>bold</b>';
  await talkTo(ann, 'user', name('bob'));
  await talkTo(bob, 'user', name('ann'));
  await say(ann, text);
  await message(bob, text, 'received');
  assert.equal(await bob.locator('.msg img, .msg b').count(), 0);
});

test('a message for a conversation out of view is counted as unread', async () => {
  const [ann, bob] = [await openTab(name('ann')), await openTab(name('bob'))];
  await talkTo(ann, 'user', name('bob'));
  await say(ann, 'look here');
  await bob.locator(`[data-conversation="user:${name('ann')}"] .unread`).waitFor();
  await talkTo(bob, 'user', name('ann'));
  await message(bob, 'look here', 'received');
  assert.equal(await bob.locator('.unread').count(), 0);
});

test('a group message reaches its members and comes back to the sender once', async () => {
  const [u1, u2] = [await openTab('u1'), await openTab('u2')];
  for (const page of [u1, u2]) await talkTo(page, 'group', 'group-1');
  await say(u1, 'hello group');
  await message(u2, 'hello group', 'received');
  const own = await message(u1, 'hello group', 'sent');
  // u3 has no tab: its copy waits in the offline buffer, and the ack counts it.
  await own.getByText('came back to this device').waitFor();
  assert.match(await own.locator('.ack').textContent(), /offline: 1 buffered/);
  assert.deepEqual(await bodies(u1), ['hello group']);

  const u3 = await openTab('u3');
  await talkTo(u3, 'group', 'group-1');
  await (await message(u3, 'hello group', 'received')).locator('.backlog').waitFor();
});

test('a refusal is shown with its reason', async () => {
  const ann = await openTab(name('ann'));
  await talkTo(ann, 'group', 'no-such-group');
  await say(ann, 'anybody?');
  const refused = await message(ann, 'anybody?', 'failed');
  assert.match(await refused.locator('.ack').textContent(), /^failed: group members empty/);
});

test('who was away gets the backlog after coming back, in order and marked', async () => {
  const [ann, bob] = [await openTab(name('ann')), await openTab(name('bob'))];
  await talkTo(ann, 'user', name('bob'));
  await talkTo(bob, 'user', name('ann'));
  await bob.click('#disconnect');
  await bob.waitForSelector('#connection[data-state=closed]');
  assert.equal(await bob.locator('#status').textContent(), 'Closed: disconnected by you');

  const missed = Array.from({ length: 10 }, (_, i) => `missed ${i}`);
  for (const text of missed) {
    await say(ann, text);
    await message(ann, text, 'sent');
  }
  await bob.click('#connect');
  await isConnected(bob);
  await message(bob, 'missed 9', 'received');
  assert.deepEqual(await bodies(bob), missed);
  assert.equal(await bob.locator('.msg .backlog').count(), missed.length);

  await say(ann, 'and live again');
  const live = await message(bob, 'and live again', 'received');
  assert.equal(await live.locator('.backlog').count(), 0);
});

test('what was written while away is sent after coming back, in order', async () => {
  const [ann, bob] = [await openTab(name('ann')), await openTab(name('bob'))];
  await talkTo(ann, 'user', name('bob'));
  await talkTo(bob, 'user', name('ann'));
  await ann.click('#disconnect');
  const written = ['first', 'second', 'third'];
  for (const text of written) await say(ann, text);
  await message(ann, 'third', 'pending');
  await ann.click('#connect');
  for (const text of written) await message(ann, text, 'sent');
  await message(bob, 'third', 'received');
  assert.deepEqual(await bodies(bob), written);
});

test('a second tab with the same device replaces the first, which stays closed', async () => {
  const first = await openTab(name('ann'), 'dev-a');
  const second = await openTab(name('ann'), 'dev-a');
  await first.waitForSelector('#connection[data-state=closed]');
  assert.match(await first.locator('#status').textContent(), /4409 replaced by a newer connection/);
  await first.waitForTimeout(1000); // longer than the first retry could wait
  assert.equal(await first.getAttribute('#connection', 'data-state'), 'closed');
  assert.equal(await second.getAttribute('#connection', 'data-state'), 'connected');
});

test('choosing a user by hand, keeping the device in the tab, opening another user from the link', async () => {
  const page = await context.newPage();
  await page.goto(gateway.url);
  assert.equal(await page.getAttribute('#connection', 'data-state'), 'idle');
  await page.click('#quick-users [data-user=u4]');
  await isConnected(page);
  assert.equal(await page.title(), 'u4 · MICS dev chat');
  const device = await page.inputValue('#device');
  await page.reload();
  await isConnected(page);
  assert.equal(await page.inputValue('#device'), device);

  const opened = context.waitForEvent('page');
  await page.click('#tab-users [data-user=u5]');
  const other = await opened;
  await isConnected(other);
  assert.equal(await other.inputValue('#user'), 'u5');
  assert.notEqual(await other.inputValue('#device'), device);
});

test("the developer's view shows frames with their bytes, the actors and the events", async () => {
  const ann = await openTab(name('ann'));
  await talkTo(ann, 'user', name('bob'));
  await say(ann, 'seen in frames');
  await message(ann, 'seen in frames', 'sent');
  assert.equal(await ann.locator('#frames .in[data-type=connect_ack]').count(), 1);
  assert.equal(await ann.locator('#frames .in[data-type=ack]').count(), 1);
  const frame = ann.locator('#frames .out[data-type=message]');
  assert.match(await frame.locator('code').textContent(), /"msg_body": "seen in frames"/);
  await frame.locator('summary').click();
  const hex = Buffer.from('seen in frames').toString('hex').replace(/..(?=.)/g, '$& ');
  await frame.locator('pre').getByText(hex).waitFor();

  await ann.click('#node-panel > summary');
  await ann.locator('#actors tr').first().waitFor();
  await ann.locator('#events li').filter({ hasText: name('ann') }).first().waitFor();
  const node = (await ann.locator('#status').textContent()).replace('Connected to ', '');
  assert.equal(await ann.locator('#node-name').textContent(), node);
  assert.equal(await ann.locator('#node-error').isVisible(), false);
});

test('the frame list keeps the last 50', async () => {
  const ann = await openTab(name('ann'));
  await talkTo(ann, 'user', name('bob'));
  for (let i = 0; i < 30; i++) await say(ann, `number ${i}`);
  for (let i = 0; i < 30; i++) await message(ann, `number ${i}`, 'sent');
  assert.equal(await ann.locator('#frames > li').count(), 50);
});

test('360 px is wide enough, in both colour schemes', async () => {
  for (const colorScheme of ['light', 'dark']) {
    const ann = await openTab(name('ann'), `dev-${colorScheme}`);
    await ann.emulateMedia({ colorScheme });
    await ann.setViewportSize({ width: 360, height: 740 });
    await talkTo(ann, 'user', name('a-rather-long-name-of-somebody-'.repeat(3)));
    await say(ann, 'w'.repeat(300));
    await message(ann, 'w'.repeat(300), 'sent');
    await ann.click('#node-panel > summary');
    await ann.locator('#actors tr').first().waitFor();
    const width = await ann.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${width} px wide in ${colorScheme}`);
  }
});

test('every control has a name and the keyboard alone suffices', async () => {
  const page = await context.newPage();
  await page.goto(gateway.url);
  const nameless = () => page.evaluate(() => [...document.querySelectorAll('button, input, select, textarea, a')]
    .filter((node) => !(node.labels?.length || node.getAttribute('aria-label') || node.textContent.trim())).map((node) => node.outerHTML));
  assert.deepEqual(await nameless(), []);
  await page.keyboard.press('Tab');
  await page.keyboard.type(name('ann'));
  await page.keyboard.press('Enter');
  await isConnected(page);
  assert.deepEqual(await nameless(), []);
  const focused = () => page.evaluate(() => document.activeElement.id);
  assert.equal(await focused(), 'disconnect');
  for (let i = 0; i < 40 && (await focused()) !== 'text'; i++) await page.keyboard.press('Tab');
  await page.keyboard.type('typed');
  await page.keyboard.press('Enter');
  await message(page, 'typed', 'sent');
});

test('heartbeats are sent and answered; when no pong comes the connection is replaced', async () => {
  const page = await context.newPage();
  let muted = false;
  await page.routeWebSocket(/\/ws\?/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((frame) => { if (!muted) socket.send(frame); });
  });
  await page.clock.install();
  await page.goto(`${gateway.url}?user=${name('ann')}`);
  await isConnected(page);
  await page.clock.runFor(10_000);
  await page.waitForSelector('#frames .in[data-type=heartbeat_pong]');
  await page.clock.runFor(9_000);
  assert.equal(await page.getAttribute('#connection', 'data-state'), 'connected');

  muted = true;
  await page.clock.runFor(1_000);
  await page.clock.runFor(5_000);
  assert.match(await page.locator('#status').textContent(), /^Reconnecting \(no pong in time\)|^Connecting/);
  muted = false;
  await page.clock.runFor(1_000);
  await isConnected(page);
});

test('a refused login and an unknown tenant are final, a draining node is not', async () => {
  for (const [code, text, final] of [[4001, 'login refused: because', true], [4002, 'unknown tenant: because', true], [4200, 'the node is draining: because', false]]) {
    const page = await context.newPage();
    await page.clock.install();
    let dials = 0;
    await page.routeWebSocket(/\/ws\?/, (socket) => {
      dials += 1;
      if (dials === 1) socket.close({ code, reason: 'because' });
      else socket.connectToServer();
    });
    await page.goto(`${gateway.url}?user=${name('ann')}`);
    if (final) {
      await page.locator('#status').getByText(`Closed: ${code} ${text}`, { exact: true }).waitFor();
      await page.clock.runFor(60_000);
      assert.equal(dials, 1);
      await page.click('#connect');
    }
    await isConnected(page);
    assert.equal(dials, 2);
  }
});

test('a gateway that goes away and comes back finds its tabs again', async () => {
  const [ann, bob] = [await openTab(name('ann')), await openTab(name('bob'))];
  await talkTo(ann, 'user', name('bob'));
  await talkTo(bob, 'user', name('ann'));
  await gateway.stop();
  await ann.waitForSelector('#connection[data-state=reconnecting]');
  await ann.locator('#countdown').filter({ hasText: /^in \d+\.\d s$/ }).waitFor();
  await say(ann, 'written in the gap');
  gateway = await startGateway(port);
  await Promise.all([isConnected(ann), isConnected(bob)]);
  await message(bob, 'written in the gap', 'received');
  await message(ann, 'written in the gap', 'sent');
  // The browser itself reports every refused attempt; nothing else may complain.
  complaints = complaints.filter((text) => !/WebSocket connection to .* failed/.test(text));
});
