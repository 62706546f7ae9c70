// Services made, changed, paused, muted and deleted through the page; the server's complaints stand at their fields.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { accessible, launch, signIn, visitor } from './browser.mjs';
import { startMkat } from './server.mjs';

let server;
let browser;
let guest;
let page;

before(async () => {
  server = await startMkat();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});
beforeEach(async () => {
  guest = await visitor(browser, server, { permissions: ['clipboard-read', 'clipboard-write'] });
  guest.expect(/400 \(Bad Request\)|409 \(Conflict\)/); // a refused form is a refused request
  page = await guest.context.newPage();
  await signIn(page, `${server.origin}/mkat`);
});
afterEach(() => guest.close());

const monitor = (number) => page.getByRole('group', { name: `Monitor ${number}`, exact: true });
const heading = (name) => page.getByRole('heading', { level: 1, name, exact: true }).waitFor();
const open = (service, tail = '') => page.goto(`${server.origin}/mkat/services/${service.id}${tail}`);
const create = (name, monitors = [{ type: 0, intervalSeconds: 300 }]) => server.api('POST', '/api/v1/services', { name, monitors });

/** The complaint that belongs to a field. */
async function complaint(field) {
  await field.and(page.locator('[aria-invalid=true]')).waitFor();
  const ids = (await field.getAttribute('aria-describedby')).split(' ');
  return page.locator(`[id="${ids.at(-1)}"]`).textContent();
}

test('a service with a monitor of every type', async () => {
  await page.getByRole('link', { name: 'Services', exact: true }).click();
  await page.getByRole('link', { name: 'New service' }).click();
  await page.getByLabel('Name').fill('all types');
  await page.getByLabel('Severity').selectOption('Critical');
  for (let count = 0; count < 3; count += 1) await page.getByRole('button', { name: 'Add a monitor' }).click();
  await monitor(1).getByLabel('Type').selectOption('Heartbeat');
  await monitor(1).getByLabel('Interval in seconds').fill('90');
  await monitor(3).getByLabel('Type').selectOption('Health check');
  await monitor(3).getByLabel('Address to check').fill(`${server.origin}/health`);
  await monitor(4).getByLabel('Type').selectOption('Metric');
  await monitor(4).getByLabel('Highest good value').fill('12.5');
  await page.getByRole('button', { name: 'Create' }).click();
  await heading('all types');
  for (const title of ['Heartbeat', 'Webhook', 'Health check', 'Metric']) await page.getByRole('heading', { level: 2, name: new RegExp(`^${title}`) }).waitFor();

  const { items } = await server.api('GET', '/api/v1/services?search=all%20types');
  assert.deepEqual(items[0].monitors.map((one) => one.type).sort(), [0, 1, 2, 3]);
  const heartbeat = items[0].monitors.find((one) => one.type === 1);
  assert.deepEqual([heartbeat.intervalSeconds, heartbeat.gracePeriodSeconds], [90, 60]);
  assert.equal(items[0].monitors.find((one) => one.type === 3).maxValue, 12.5);

  const url = await page.getByRole('textbox', { name: 'Heartbeat address (GET or POST)' }).inputValue();
  assert.equal(url, `${server.origin}/mkat/heartbeat/${heartbeat.token}`);
  await page.getByRole('button', { name: 'Copy Heartbeat address' }).click();
  await page.getByText('Copied.').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), url);
  assert.ok((await fetch(url)).ok);
});

test('the server says what is wrong, at the field', async () => {
  await create('taken');
  await page.goto(`${server.origin}/mkat/services/new`);
  await page.getByRole('button', { name: 'Add a monitor' }).click();
  await monitor(1).getByLabel('Interval in seconds').fill('5');
  await monitor(1).getByLabel('Grace in seconds').fill('1');
  await monitor(2).getByLabel('Type').selectOption('Health check');
  await monitor(2).getByLabel('Body must match').fill('(');
  await monitor(2).getByLabel('Expected status codes').fill('abc');
  await page.getByRole('button', { name: 'Create' }).click();
  assert.match(await complaint(page.getByLabel('Name')), /./);
  assert.match(await complaint(monitor(1).getByLabel('Interval in seconds')), /30/);
  assert.match(await complaint(monitor(1).getByLabel('Grace in seconds')), /60/);
  for (const label of ['Address to check', 'Body must match', 'Expected status codes']) assert.match(await complaint(monitor(2).getByLabel(label)), /./);
  await accessible(page, 'a form with complaints');

  await monitor(2).getByLabel('Type').selectOption('Metric');
  await monitor(1).getByLabel('Interval in seconds').fill('60');
  await monitor(1).getByLabel('Grace in seconds').fill('');
  await page.getByLabel('Name').fill('taken');
  await page.getByRole('button', { name: 'Create' }).click();
  await monitor(2).getByRole('alert').getByText(/minValue or maxValue/).waitFor();
  await monitor(2).getByLabel('Lowest good value').fill('10');
  await monitor(2).getByLabel('Highest good value').fill('2');
  await page.getByRole('button', { name: 'Create' }).click();
  assert.match(await complaint(monitor(2).getByLabel('Highest good value')), /greater/i);
  await monitor(2).getByLabel('Highest good value').fill('20');
  await page.getByRole('button', { name: 'Create' }).click();
  await page.getByRole('alert').getByText('Another service has this name').waitFor();
  await page.getByLabel('Name').fill('free');
  await page.getByRole('button', { name: 'Create' }).click();
  await heading('free');
});

test('every strategy with its window can be set and changed', async () => {
  const service = await create('strategies', [{ type: 3, intervalSeconds: 300, maxValue: 5 }]);
  const windows = [['Values in a row', 'thresholdCount', '4'], ['Mean over time', 'windowSeconds', '120'], ['Mean of last values', 'windowSampleCount', '6']];
  for (const [index, [strategy, key, value]] of windows.entries()) {
    await open(service, '/edit');
    await monitor(1).getByLabel('Judged by').selectOption(strategy);
    const input = monitor(1).getByRole('textbox', { name: ['Values in a row', 'Window in seconds', 'Number of values'][index] });
    await input.fill('0');
    await page.getByRole('button', { name: 'Save' }).click();
    assert.match(await complaint(input), /greater than 0/);
    await input.fill(value);
    await page.getByRole('button', { name: 'Save' }).click();
    await heading('strategies');
    await page.getByText(strategy).waitFor();
    const [stored] = (await server.api('GET', `/api/v1/services/${service.id}`)).monitors;
    assert.deepEqual([stored.thresholdStrategy, stored[key], stored.maxValue], [index + 1, Number(value), 5]);
  }
});

test('a service is edited, loses and gains monitors, and is deleted', async () => {
  const service = await create('before', [{ type: 0, intervalSeconds: 300 }, { type: 1, intervalSeconds: 300 }]);
  await open(service);
  await page.getByRole('link', { name: 'Edit before' }).click();
  await page.getByLabel('Name').fill('after');
  await page.getByLabel('Description (optional)').fill('changed');
  await page.getByRole('button', { name: 'Remove monitor 1' }).click();
  await page.getByRole('button', { name: 'Add a monitor' }).click();
  await monitor(2).getByLabel('Type').selectOption('Metric');
  await monitor(2).getByLabel('Lowest good value').fill('1');
  await page.getByRole('checkbox', { name: 'Default (default)' }).check();
  await page.getByRole('button', { name: 'Save' }).click();
  await heading('after');
  await page.getByText('changed', { exact: true }).waitFor();
  const stored = await server.api('GET', `/api/v1/services/${service.id}`);
  assert.deepEqual(stored.monitors.map((one) => one.type).sort(), [1, 3]);
  assert.equal((await server.api('GET', `/api/v1/services/${service.id}/contacts`)).length, 1);

  await open(service, '/edit');
  await page.getByRole('button', { name: 'Delete service' }).click();
  await accessible(page, 'the delete dialog');
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await heading('Services');
  await page.getByRole('link', { name: 'after', exact: true }).waitFor({ state: 'detached' });
  assert.equal((await server.api('GET', '/api/v1/services?search=after')).totalCount, 0);
});

test('pause with an end, resume; mute with a reason, unmute', async () => {
  const service = await create('quiet');
  await open(service);
  await page.getByRole('button', { name: 'Pause quiet' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Set an end').check();
  await dialog.getByLabel('Until').fill('2031-05-06T07:08');
  await accessible(page, 'the pause dialog');
  await dialog.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Resume quiet' }).waitFor();
  const paused = await server.api('GET', `/api/v1/services/${service.id}`);
  assert.equal(paused.state, 3);
  assert.equal(Date.parse(paused.pausedUntil), await page.evaluate(() => new Date('2031-05-06T07:08').getTime()));
  await page.getByRole('button', { name: 'Resume quiet' }).click();
  await page.getByRole('button', { name: 'Pause quiet' }).waitFor();

  await page.getByRole('button', { name: 'Mute quiet' }).click();
  await dialog.getByLabel('For').selectOption('Another time');
  await dialog.getByLabel('Minutes').fill('0');
  await dialog.getByRole('button', { name: 'Mute' }).click();
  assert.match(await complaint(dialog.getByLabel('Minutes')), /1/);
  await accessible(page, 'the mute dialog');
  await dialog.getByLabel('Minutes').fill('30');
  await dialog.getByLabel('Reason').fill('roll-out');
  await dialog.getByRole('button', { name: 'Mute' }).click();
  await page.getByText('(roll-out)').waitFor();
  const [mute] = await server.api('GET', `/api/v1/services/${service.id}/mutes`);
  assert.equal(Date.parse(mute.endsAt) - Date.parse(mute.startsAt), 30 * 60_000);
  await page.getByRole('button', { name: 'Unmute' }).click();
  await page.getByText('(roll-out)').waitFor({ state: 'detached' });
});

test('dialogs by keyboard: focus goes in, stays in, and comes back', async () => {
  const service = await create('keys');
  await open(service);
  const trigger = page.getByRole('button', { name: 'Pause keys' });
  await trigger.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Pause keys' });
  await dialog.waitFor();
  for (let count = 0; count < 8; count += 1) {
    await page.keyboard.press('Tab');
    assert.ok(await dialog.evaluate((element) => element.contains(document.activeElement) || document.activeElement.hasAttribute('data-base-ui-focus-guard')));
  }
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await page.waitForFunction(() => document.activeElement?.getAttribute('aria-label') === 'Pause keys');
});

test('a new address replaces the old one', async () => {
  const service = await create('rotated');
  await open(service);
  const field = page.getByRole('textbox', { name: 'Failure address (POST)' });
  const before = await field.inputValue();
  await page.getByRole('button', { name: 'New address for this webhook monitor' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Replace' }).click();
  await page.waitForFunction(([old]) => document.querySelector('input[aria-label^="Failure"]').value !== old, [before]);
  assert.equal((await fetch(before, { method: 'POST' })).status, 404);
  assert.equal((await fetch(await field.inputValue(), { method: 'POST' })).status, 200);
});

test('the chart shows what was pushed, also as a table', async () => {
  const service = await create('chart', [{ type: 3, intervalSeconds: 300, maxValue: 50 }]);
  for (const value of [1.5, 75, 20]) await fetch(`${service.monitors[0].metricUrl}?value=${value}`, { method: 'POST' });
  await open(service);
  await page.getByRole('img', { name: /^3 values .* 1 out of range, last 20$/ }).waitFor();
  await page.getByRole('button', { name: 'As a table' }).click();
  assert.deepEqual(await page.getByRole('region', { name: 'Values' }).locator('td:nth-child(2)').allTextContents(), ['20', '75', '1.5']);
});
