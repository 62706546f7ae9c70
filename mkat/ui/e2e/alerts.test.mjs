// Alerts, deliveries, contacts and channels: what the operator does about trouble and who is told.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { accessible, launch, signIn, visitor } from './browser.mjs';
import { freePort, startMkat } from './server.mjs';

let server;
let browser;
let guest;
let page;
/** Where webhook channels post to. */
let receiver;
let received = [];

before(async () => {
  server = await startMkat();
  browser = await launch();
  const port = await freePort();
  receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (piece) => { body += piece; });
    request.on('end', () => {
      received.push({ path: request.url, headers: request.headers, body: JSON.parse(body) });
      response.writeHead(request.url === '/broken' ? 422 : 204).end();
    });
  }).listen(port, '127.0.0.1');
  receiver.url = `http://127.0.0.1:${port}`;
});
after(async () => {
  await browser?.close();
  receiver?.close();
  await server?.stop();
});
beforeEach(async () => {
  received = [];
  guest = await visitor(browser, server);
  guest.expect(/400 \(Bad Request\)/); // a refused form is a refused request
  page = await guest.context.newPage();
  await signIn(page, server.origin);
});
afterEach(() => guest.close());

const link = (name) => page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name }).click();
const create = (name, severity = 1) => server.api('POST', '/api/v1/services', { name, severity, monitors: [{ type: 0, intervalSeconds: 300 }] });
const fail = (service) => fetch(service.monitors[0].webhookFailUrl, { method: 'POST' });
const items = () => page.getByRole('listitem').filter({ has: page.getByRole('button', { name: /^Deliveries of/ }) });

test('a contact with a channel: added, tested, changed with its secret kept, removed', async () => {
  await link('Contacts');
  await page.getByRole('button', { name: 'New contact' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.locator('[aria-invalid=true]').waitFor();
  await dialog.getByLabel('Name').fill('Night shift');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.waitFor({ state: 'detached' });

  await page.getByRole('button', { name: 'Add a channel to Night shift' }).click();
  await dialog.getByRole('button', { name: 'Add' }).click();
  await dialog.getByRole('alert').getByText(/botToken/).waitFor();
  await accessible(page, 'the channel dialog with a complaint');
  await dialog.getByLabel('Type').selectOption('Webhook');
  await dialog.getByLabel('Address').fill(`${receiver.url}/hook`);
  await dialog.getByLabel('Signing secret (optional)').fill('top secret');
  await dialog.getByLabel('Further headers (optional)').fill('X-Team: night');
  await dialog.getByRole('button', { name: 'Add' }).click();
  await dialog.waitFor({ state: 'detached' });

  await page.getByRole('button', { name: /^Send a test to Webhook/ }).click();
  await page.getByText('Test: the test message was delivered.').waitFor();
  assert.deepEqual([received[0].path, received[0].body.event, received[0].headers['x-team']], ['/hook', 'test', 'night']);
  assert.ok(received[0].headers['x-mkat-signature']);

  await page.getByRole('button', { name: /^Change Webhook/ }).click();
  assert.equal(await dialog.getByLabel('Signing secret (optional)').inputValue(), '********');
  await dialog.getByLabel('Address').fill(`${receiver.url}/broken`);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: /^Send a test to Webhook .*broken/ }).click();
  await page.getByText(/^Test failed: .*422/).waitFor();
  assert.ok(received[1].headers['x-mkat-signature'], 'the masked secret was kept');

  await page.getByRole('checkbox', { name: 'Enabled' }).uncheck();
  await server.until('/api/v1/contacts', (contacts) => contacts.some((one) => one.channels[0]?.isEnabled === false));

  await page.getByRole('button', { name: /^Remove Webhook/ }).click();
  await dialog.getByRole('button', { name: 'Remove' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Rename Night shift' }).click();
  await dialog.getByLabel('Name').fill('Day shift');
  await dialog.getByRole('button', { name: 'Rename' }).click();
  await page.getByRole('button', { name: 'Delete Day shift' }).click();
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await dialog.waitFor({ state: 'detached' }); // until then the dialog hides everything behind it from roles
  await page.getByRole('button', { name: 'Delete Day shift' }).waitFor({ state: 'detached' });
  assert.deepEqual((await server.api('GET', '/api/v1/contacts')).map((one) => one.isDefault), [true]);
});

test('an alert is delivered, shown with its ledger, acknowledged, and only its own service lists it', async () => {
  const [contact] = await server.api('GET', '/api/v1/contacts');
  const channel = await server.api('POST', `/api/v1/contacts/${contact.id}/channels`, { type: 2, configuration: JSON.stringify({ url: `${receiver.url}/alerts` }) });
  const [one, other] = [await create('one', 3), await create('other')];
  await fail(one);
  await fail(other);
  await page.getByRole('heading', { name: 'Active alerts' }).waitFor();
  await page.getByRole('button', { name: 'Acknowledge alert of one' }).waitFor();
  await page.getByRole('button', { name: 'Deliveries of alert of one' }).click();
  await page.getByRole('list', { name: 'Deliveries' }).getByText('Delivered').waitFor();
  await page.getByRole('button', { name: 'Acknowledge alert of one' }).click();
  await page.getByText(/Acknowledged by admin/).waitFor();
  const { items: alerts } = await server.api('GET', `/api/v1/alerts?serviceId=${one.id}`);
  assert.equal(alerts[0].acknowledgedBy, 'admin');

  await page.goto(`${server.origin}/services/${other.id}`);
  await items().first().waitFor();
  assert.equal(await items().count(), 1);
  await page.getByText('other failed').waitFor();
  await server.api('DELETE', `/api/v1/contacts/${contact.id}/channels/${channel.id}`);
});

test('the timeline is filtered, and the filters are in the address', async () => {
  const service = await create('filtered', 2);
  await fail(service);
  await fetch(service.monitors[0].webhookRecoverUrl, { method: 'POST' });
  await link('Alerts');
  await page.getByLabel('Type').selectOption('Recovery');
  await page.getByLabel('Severity').selectOption('High');
  await page.waitForURL(/type=1.*severity=2|severity=2.*type=1/);
  await page.getByText('filtered recovered').waitFor();
  await page.getByText('filtered failed').waitFor({ state: 'detached' });
  await page.reload();
  await page.getByText('filtered recovered').waitFor();
  assert.equal(await items().count(), 1);
  await page.getByLabel('From').fill('2035-01-01T00:00');
  await page.getByText('Nothing matches.').waitFor();
  await accessible(page, 'the filtered timeline');
  await page.goto(`${server.origin}/alerts?serviceId=${service.id}`);
  await page.getByText('Only of filtered').waitFor();
  await items().nth(1).waitFor();
  assert.equal(await items().count(), 2);
  await page.getByRole('button', { name: 'Mute filtered' }).first().click();
  await page.getByRole('dialog').getByRole('button', { name: 'Mute' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal((await server.api('GET', `/api/v1/services/${service.id}/mutes`)).length, 1);
});
