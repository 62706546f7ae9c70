// A browser whose complaints fail the test: console errors, violations of the content policy, foreign requests.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { PASSWORD } from './server.mjs';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
export const TIMEOUT_MS = 15_000;
const AXE = readFileSync(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium', args: FLAGS });

/** A fresh visitor. `expected`: complaints that a test provokes; a request that is refused shows up in the console. */
export async function visitor(browser, { origin, missing }, options = {}) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  context.setDefaultTimeout(TIMEOUT_MS);
  const complaints = [];
  const expected = missing.map((name) => new RegExp(`404 \\(Not Found\\).*/${name}[?)]`));
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()} (${message.location().url})`);
  });
  context.on('weberror', (error) => complaints.push(`uncaught: ${error.error()}`));
  context.on('request', (request) => {
    if (!request.url().startsWith(origin) && !request.url().startsWith('data:')) complaints.push(`foreign request: ${request.url()}`);
  });
  return {
    context,
    expect: (pattern) => expected.push(pattern),
    async close() {
      await context.close();
      assert.deepEqual(complaints.filter((text) => !expected.some((pattern) => pattern.test(text))), []);
    },
  };
}

/** Signs in through the page; ends at `place`. */
export async function signIn(page, root, place = '') {
  await page.goto(`${root}/login`);
  await page.getByLabel('Name').fill('admin');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Dashboard' }).waitFor();
  if (place) await page.goto(`${root}${place}`);
}

/** No serious accessibility finding on what is shown now. */
export async function accessible(page, what) {
  await page.evaluate(AXE); // runs in the page's world without a script element: the policy stays in force
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const serious = found.violations
    .filter((one) => ['serious', 'critical'].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.html).slice(0, 3).join(' | ')}`);
  assert.deepEqual(serious, [], what);
}

/** Nothing sticks out to the right. */
export async function fits(page, what) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(content <= window, `${what}: ${content} px wide in ${window}`);
}
