// Five thousand services: every page is still quick, because only a page of them is ever read.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, signIn, visitor } from './browser.mjs';
import { startMkat } from './server.mjs';

const COUNT = 5000;
const AT_ONCE = 50;

let server;
let browser;

before(async () => {
  server = await startMkat();
  browser = await launch();
  const create = (number) => server.api('POST', '/api/v1/services', {
    name: `service ${String(number).padStart(5, '0')}`, monitors: [{ type: number % 2, intervalSeconds: 604800 }],
  });
  for (let start = 0; start < COUNT; start += AT_ONCE) await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => create(start + index)));
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test('lists, search and the last page of 5,000 services', async (t) => {
  const guest = await visitor(browser, server);
  const page = await guest.context.newPage();
  await signIn(page, server.origin);
  await page.getByText('5000', { exact: true }).waitFor();
  const timed = async (what, action) => {
    const began = performance.now();
    await action();
    t.diagnostic(`${what}: ${Math.round(performance.now() - began)} ms`);
  };
  await timed('first page, loaded', async () => {
    await page.goto(`${server.origin}/services`);
    await page.getByText('5000 services, page 1 of 250').waitFor();
  });
  await timed('next page', async () => {
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText('5000 services, page 2 of 250').waitFor();
  });
  assert.equal(await page.getByRole('link', { name: /^service / }).count(), 20);
  await timed('search (with 250 ms of rest in typing)', async () => {
    await page.getByLabel('Search').fill('04999');
    await page.getByText('1 services').waitFor();
  });
  await timed('last page, loaded', async () => {
    await page.goto(`${server.origin}/services?page=250`);
    await page.getByRole('link', { name: 'service 04999', exact: true }).waitFor();
  });
  await guest.close();
});
