// Every page at the root and under the base path: deep links, accessibility in light and dark, 360 px, nothing refused
// by the content policy (the visitor fails on any console error).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, fits, launch, signIn, visitor } from './browser.mjs';
import { PASSWORD, startMkat } from './server.mjs';

let server;
let browser;
let pages;

before(async () => {
  server = await startMkat();
  browser = await launch();
  const long = 'a-service-with-one-very-long-name-that-has-no-place-to-break-anywhere-in-it';
  const monitors = [
    { type: 0, intervalSeconds: 300 },
    { type: 1, intervalSeconds: 300 },
    { type: 2, intervalSeconds: 3600, healthCheckUrl: `${server.origin}/health` },
    { type: 3, intervalSeconds: 300, minValue: 0, maxValue: 50, thresholdStrategy: 2, windowSeconds: 60 },
  ];
  const service = await server.api('POST', '/api/v1/services', { name: long, description: 'Front door', severity: 3, monitors });
  for (const value of [1, 20, 400]) await fetch(`${service.monitors[3].metricUrl}?value=${value}`, { method: 'POST' });
  await fetch(service.monitors[0].webhookFailUrl, { method: 'POST' });
  const [contact] = await server.api('GET', '/api/v1/contacts');
  await server.api('POST', `/api/v1/contacts/${contact.id}/channels`, { type: 2, configuration: JSON.stringify({ url: `${server.origin}/nowhere`, secret: 's' }) });
  await server.api('POST', '/api/v1/alertmanager/receivers', { name: long });
  pages = [
    ['/', 'Dashboard'], ['/services', 'Services'], ['/services?state=2', 'Services'], ['/services/new', 'New service'],
    [`/services/${service.id}`, long], [`/services/${service.id}/edit`, `Edit ${long}`], ['/alerts', 'Alerts'],
    [`/alerts?serviceId=${service.id}&acknowledged=false`, 'Alerts'], ['/contacts', 'Contacts'], ['/receivers', 'Receivers'], ['/peers', 'Peers'],
    ['/settings', 'Settings'],
  ];
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** The page with its content, not only its frame. */
async function shown(page, title) {
  await page.getByRole('heading', { level: 1, name: title, exact: true }).waitFor();
  await page.getByText('Loading…').first().waitFor({ state: 'detached' });
}

for (const base of ['', '/mkat', '/MKAT']) {
  test(`deep links at "${base}/"`, async () => {
    const guest = await visitor(browser, server);
    const page = await guest.context.newPage();
    await signIn(page, server.origin + base);
    for (const [path, title] of pages) {
      await page.goto(server.origin + base + path);
      await shown(page, title);
      assert.equal(new URL(page.url()).pathname, base + path.split('?')[0] || '/', path);
    }
    for (const name of ['Services', 'Alerts', 'Contacts', 'Receivers', 'Peers', 'Settings', 'Dashboard']) {
      await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name }).click();
      await shown(page, name);
      assert.ok(new URL(page.url()).pathname.startsWith(base), page.url());
    }
    await guest.close();
  });
}

for (const colorScheme of ['light', 'dark']) {
  test(`no serious accessibility finding, ${colorScheme}`, async () => {
    const guest = await visitor(browser, server, { colorScheme });
    const page = await guest.context.newPage();
    await page.goto(`${server.origin}/login`);
    await page.getByRole('heading', { name: 'Sign in to mkat' }).waitFor();
    await accessible(page, '/login');
    await signIn(page, server.origin);
    assert.equal(await page.locator('html').getAttribute('data-theme'), colorScheme);
    for (const [path, title] of pages) {
      await page.goto(server.origin + path);
      await shown(page, title);
      await accessible(page, path);
    }
    await guest.close();
  });
}

test('everything fits into 360 px', async () => {
  const guest = await visitor(browser, server, { viewport: { width: 360, height: 640 }, hasTouch: true });
  const page = await guest.context.newPage();
  await signIn(page, server.origin);
  for (const [path, title] of pages) {
    await page.goto(server.origin + path);
    await shown(page, title);
    await fits(page, path);
  }
  await page.goto(server.origin + pages[4][0]);
  await page.getByRole('button', { name: /^Mute a-service/ }).first().click();
  const box = await page.getByRole('dialog').boundingBox();
  assert.ok(box.x >= 0 && box.x + box.width <= 360, JSON.stringify(box));
  await guest.close();
});

test('signing in: a wrong password is refused, a deep link is kept, signing out ends it', async () => {
  const guest = await visitor(browser, server);
  guest.expect(/401 \(Unauthorized\).*\/api\/v1\/session/);
  const page = await guest.context.newPage();
  await page.goto(`${server.origin}/mkat/alerts?type=0&acknowledged=false`);
  await page.getByLabel('Name').fill('admin');
  await page.getByLabel('Password').fill('wrong');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').getByText('wrong').waitFor();
  await page.getByLabel('Password').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await shown(page, 'Alerts');
  assert.equal(page.url(), `${server.origin}/mkat/alerts?type=0&acknowledged=false`);
  assert.equal(await page.evaluate(() => document.cookie), '', 'the cookie is out of reach of scripts');

  await page.goto(`${server.origin}/mkat/settings`);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in to mkat' }).waitFor();
  await page.goto(`${server.origin}/mkat/services`);
  await page.getByRole('heading', { name: 'Sign in to mkat' }).waitFor();
  await guest.close();
});

test('a session that ended elsewhere leads to the sign-in and back', async () => {
  const guest = await visitor(browser, server);
  guest.expect(/401 \(Unauthorized\)/);
  const page = await guest.context.newPage();
  await signIn(page, server.origin, '/contacts');
  await shown(page, 'Contacts');
  await guest.context.clearCookies();
  await page.getByRole('link', { name: 'Services' }).click();
  await page.getByRole('heading', { name: 'Sign in to mkat' }).waitFor();
  await page.getByLabel('Name').fill('admin');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
  await guest.close();
});

test('unknown pages and services are said to be unknown', async () => {
  const guest = await visitor(browser, server);
  guest.expect(/404 \(Not Found\).*\/api\/v1\/services\/nothing/);
  const page = await guest.context.newPage();
  await signIn(page, server.origin, '/no/such/page');
  await page.getByRole('heading', { name: 'There is no such page' }).waitFor();
  await page.goto(`${server.origin}/services/nothing`);
  await page.getByRole('alert').getByText('There is no such service').waitFor();
  await guest.close();
});

test('the chosen colours stay', async () => {
  const guest = await visitor(browser, server, { colorScheme: 'light' });
  const page = await guest.context.newPage();
  await signIn(page, server.origin, '/settings');
  await page.getByText('Ready', { exact: true }).waitFor();
  await page.getByLabel('Colours').selectOption('dark');
  await page.reload();
  await page.locator('html[data-theme=dark]').waitFor();
  await page.getByLabel('Colours').selectOption('system');
  await page.locator('html[data-theme=light]').waitFor();
  await guest.close();
});
