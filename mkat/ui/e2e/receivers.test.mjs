// Alertmanager receivers: made, used, changed, given a new address and deleted through the page.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, fits, launch, signIn, visitor } from './browser.mjs';
import { startMkat } from './server.mjs';

let server;
let browser;

before(async () => {
  server = await startMkat({ MKAT_MIN_INTERVAL_SECONDS: '1', MKAT_MIN_GRACE_SECONDS: '0' });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const alert = (alertname, status, labels = {}) => ({
  status, labels: { alertname, ...labels }, annotations: { summary: `${alertname} <b>of</b> ${labels.tenant ?? 'all'}` },
  startsAt: '2026-11-21T10:00:00Z', endsAt: status === 'firing' ? '0001-01-01T00:00:00Z' : '2026-11-21T10:05:00Z',
});

async function post(url, alerts, secret, truncatedAlerts = 0) {
  const headers = { 'content-type': 'application/json', ...(secret && { authorization: `Bearer ${secret}` }) };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ version: '4', alerts, truncatedAlerts }) });
  return response.status;
}

test('a receiver from its creation to its end', async () => {
  const guest = await visitor(browser, server, { viewport: { width: 360, height: 740 } });
  guest.expect(/400 \(Bad Request\)/);
  const page = await guest.context.newPage();
  const dialog = page.getByRole('dialog');
  await signIn(page, server.origin, '/receivers');
  await page.getByText('There is no receiver yet.').waitFor();

  await page.getByRole('button', { name: 'New receiver' }).click();
  await dialog.getByLabel('Service of an alert').fill('gateway/{{');
  await dialog.getByLabel('At most so many services').fill('many');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.locator('[aria-invalid=true]').nth(2).waitFor();
  assert.equal(await dialog.locator('[aria-invalid=true]').count(), 3, 'name, template and number');
  await accessible(page, 'the receiver dialog with complaints');
  await fits(page, 'the receiver dialog');
  await dialog.getByLabel('Name').fill('prod');
  await dialog.getByLabel('Service of an alert').fill('gateway/{{tenant}}');
  await dialog.getByLabel('At most so many services').fill('7');
  await dialog.getByLabel('Longest silence of the watchdog (seconds)').fill('2');
  await dialog.getByLabel('Bearer secret (optional)').fill('s3cret');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.waitFor({ state: 'detached' });

  const address = page.getByRole('textbox', { name: 'Address for prod (POST)' });
  const first = await address.inputValue();
  const [made] = await server.api('GET', '/api/v1/alertmanager/receivers');
  assert.equal(first, made.url, 'shown as the API shows it');
  await page.getByText('Watchdog was not heard of yet').waitFor();
  assert.equal(await post(first, []), 401, 'without the secret');

  // What arrives is shown without a reload.
  await page.locator('[data-live=live]').waitFor();
  assert.equal(await post(first, [alert('HookErrors', 'firing', { tenant: 't1', severity: 'critical' }), alert('Watchdog', 'firing')], 's3cret', 3), 200);
  await page.getByText('left 3 alerts out').waitFor();
  await page.getByText('1 alert fires').waitFor();
  await page.getByRole('list', { name: 'Alerts that fire in prod' }).getByText('HookErrors: HookErrors <b>of</b> t1').waitFor();
  await page.getByText('1 of at most 7').waitFor();
  await page.getByText('heard just now').waitFor();
  await accessible(page, 'a receiver with alerts');
  await fits(page, 'a receiver with alerts');
  const watchdog = page.getByRole('definition').filter({ hasText: 'heard' });
  await watchdog.getByText('Down').waitFor(); // it stays silent for 2 s
  assert.equal(await post(first, [alert('HookErrors', 'resolved', { tenant: 't1', severity: 'critical' })], 's3cret'), 200);
  await page.getByText('Nothing fires.').waitFor();

  await page.getByRole('button', { name: 'Change prod' }).click();
  assert.equal(await dialog.getByLabel('At most so many services').inputValue(), '7');
  await dialog.getByLabel('Name').fill('production');
  await dialog.getByRole('checkbox', { name: 'Ask for no bearer secret any more' }).check();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('heading', { name: 'production', exact: true }).waitFor();
  assert.equal(await post(first, []), 200, 'without the secret');

  await page.getByRole('button', { name: 'New address for production' }).click();
  await dialog.getByRole('button', { name: 'Replace' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.locator(`input[aria-label^="Address"]:not([value="${first}"])`).waitFor(); // the dialog closes a moment before
  const fresh = await page.getByRole('textbox', { name: 'Address for production (POST)' }).inputValue();
  assert.notEqual(fresh, first);
  assert.deepEqual([await post(first, []), await post(fresh, [])], [404, 200]);

  await page.getByRole('button', { name: 'Delete production' }).click();
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByText('There is no receiver yet.').waitFor();
  assert.equal((await server.api('GET', '/api/v1/services')).totalCount, 0, 'the services made for it are gone');
  await guest.close();
});
