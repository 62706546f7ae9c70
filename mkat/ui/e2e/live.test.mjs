// Changes reach an open page by themselves: at once over the stream, after a lost stream, and without any stream.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, signIn, visitor } from './browser.mjs';
import { startMkat } from './server.mjs';

const STREAM = '**/api/v1/events/stream';

let server;
let browser;
let service;

before(async () => {
  server = await startMkat();
  browser = await launch();
  service = await server.api('POST', '/api/v1/services', { name: 'lively', monitors: [{ type: 0, intervalSeconds: 300 }, { type: 3, intervalSeconds: 300, maxValue: 9 }] });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const post = (url) => fetch(url, { method: 'POST' });
const is = (page, state) => page.locator(`[data-live=${state}]`).waitFor();
const downIs = (page, count) => page.locator('[data-state=down]').getByText(count, { exact: true }).waitFor();

/** Milliseconds from the signal until every page shows it; measured in the pages by what is painted, not by polling. */
async function shownAfter(signal, ...waits) {
  const began = performance.now();
  const all = Promise.all(waits);
  await signal();
  await all;
  return performance.now() - began;
}

test('a failure reaches dashboard, list and detail of open pages at once', async (t) => {
  const guest = await visitor(browser, server);
  const [dashboard, list, detail] = await Promise.all(['', '', ''].map(() => guest.context.newPage()));
  await signIn(dashboard, server.origin);
  await list.goto(`${server.origin}/services?state=2`);
  await detail.goto(`${server.origin}/services/${service.id}`);
  for (const page of [dashboard, list, detail]) await is(page, 'live');
  await downIs(dashboard, '0');
  const took = await shownAfter(
    () => post(service.monitors[0].webhookFailUrl),
    downIs(dashboard, '1'),
    dashboard.getByRole('button', { name: 'Acknowledge alert of lively' }).waitFor(),
    list.getByRole('link', { name: 'lively', exact: true }).waitFor(),
    detail.getByText('lively failed').waitFor(),
  );
  t.diagnostic(`shown on three pages after ${Math.round(took)} ms`);
  const metric = await shownAfter(() => post(`${service.monitors[1].metricUrl}?value=4.25`), detail.getByText('4.25').first().waitFor());
  t.diagnostic(`a pushed value shown after ${Math.round(metric)} ms`);
  await post(service.monitors[0].webhookRecoverUrl);
  await downIs(dashboard, '0');
  assert.equal(await dashboard.title(), 'mkat');
  await guest.close();
});

test('the dashboard shows what happens anywhere, newest first, by kind and by page', async () => {
  const guest = await visitor(browser, server);
  const page = await guest.context.newPage();
  await signIn(page, server.origin);
  await is(page, 'live');
  const list = page.getByRole('list', { name: 'Recent events' });
  const first = list.getByRole('listitem').first();
  await post(`${service.monitors[1].metricUrl}?value=7.5`);
  await first.getByText('7.5', { exact: true }).waitFor();
  await fetch(service.monitors[0].webhookFailUrl, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"message":"disk <i>full</i>"}' });
  await list.getByText('Up to Down: webhook reported a failure: disk <i>full</i>').waitFor();
  await page.getByLabel('Kind of events').selectOption('State');
  await list.getByText('Metric', { exact: true }).first().waitFor({ state: 'detached' });
  await first.getByText('Up to Down').waitFor();
  await page.getByLabel('Kind of events').selectOption('All');
  for (let value = 0; value < 12; value += 1) await post(`${service.monitors[1].metricUrl}?value=0.${value}`);
  await first.getByText('0.11').waitFor();
  assert.equal(await list.getByRole('listitem').count(), 12, 'bounded');
  await page.getByRole('navigation', { name: 'Pages of events' }).getByRole('button', { name: 'Next' }).click();
  await list.getByText('Up to Down').waitFor();
  await post(service.monitors[0].webhookRecoverUrl);
  await guest.close();
});

test('a stream that ends is taken up again where it ended', async () => {
  const guest = await visitor(browser, server);
  const page = await guest.context.newPage();
  const asked = [];
  await page.route(STREAM, async (route) => {
    asked.push(route.request().headers()['last-event-id']);
    if (asked.length > 1) return route.continue();
    return route.fulfill({ contentType: 'text/event-stream', body: 'id: gone-7\nevent: reset\ndata: {}\n\n' });
  });
  await signIn(page, server.origin);
  await is(page, 'live');
  await page.waitForFunction(() => performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/events/stream')).length >= 1);
  await post(service.monitors[0].webhookFailUrl);
  await downIs(page, '1');
  await is(page, 'live');
  assert.deepEqual(asked.slice(0, 2), [undefined, 'gone-7']);
  await post(service.monitors[0].webhookRecoverUrl);
  await downIs(page, '0');
  await guest.close();
});

test('without a stream the page asks again and again', async () => {
  const guest = await visitor(browser, server);
  guest.expect(/404 \(Not Found\).*events\/stream/);
  const page = await guest.context.newPage();
  await page.route(STREAM, (route) => route.fulfill({ status: 404, contentType: 'application/json', body: '{"error":"no","code":"NOT_FOUND"}' }));
  await signIn(page, server.origin);
  await is(page, 'polling');
  await downIs(page, '0');
  await post(service.monitors[0].webhookFailUrl);
  await downIs(page, '1');
  await guest.close();
});
