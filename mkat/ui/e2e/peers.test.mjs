// Two real instances are paired and unpaired through their pages.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, launch, signIn, visitor } from './browser.mjs';
import { startMkat } from './server.mjs';

let servers;
let browser;

before(async () => {
  servers = await Promise.all(['alpha', 'beta'].map((name) => startMkat({ MKAT_INSTANCE_NAME: name })));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await Promise.all((servers ?? []).map((server) => server.stop()));
});

test('a token made at one instance pairs both, and one of them parts them', async () => {
  const guests = [];
  const pages = [];
  for (const server of servers) {
    const guest = await visitor(browser, server);
    guest.expect(/400 \(Bad Request\)/);
    guests.push(guest);
    const page = await guest.context.newPage();
    await signIn(page, server.origin, '/peers');
    await page.getByText('There is no peer yet.').waitFor();
    pages.push(page);
  }
  const [alpha, beta] = pages;
  await alpha.getByRole('button', { name: 'Pair' }).click();
  await alpha.getByLabel('Name of this instance').fill('Alpha');
  await accessible(alpha, 'the pair dialog');
  await alpha.getByRole('button', { name: 'Make a token' }).click();
  const token = await alpha.getByRole('textbox', { name: 'Pairing token' }).inputValue();
  await alpha.getByRole('button', { name: 'Close' }).click();

  await beta.getByRole('button', { name: 'Pair' }).click();
  await beta.getByRole('tab', { name: 'Enter a token' }).click();
  await beta.getByLabel('Token of the other instance').fill('nonsense');
  await beta.getByRole('dialog').getByRole('button', { name: 'Pair' }).click();
  await beta.getByRole('alert').waitFor();
  await beta.getByLabel('Token of the other instance').fill(token);
  await beta.getByRole('dialog').getByRole('button', { name: 'Pair' }).click();
  await beta.getByRole('button', { name: 'Unpair Alpha' }).waitFor();
  await alpha.getByRole('button', { name: /^Unpair beta/i }).waitFor();
  await beta.getByRole('link', { name: 'Dashboard' }).click();
  await beta.getByRole('heading', { name: 'Peers' }).waitFor();
  await beta.getByRole('link', { name: 'Alpha', exact: true }).waitFor();

  await alpha.getByRole('button', { name: /^Unpair beta/i }).click();
  await alpha.getByRole('dialog').getByRole('button', { name: 'Unpair' }).click();
  await alpha.getByText('There is no peer yet.').waitFor();
  await beta.getByText('No other instance watches this one.').waitFor();
  assert.deepEqual(await servers[1].api('GET', '/api/v1/peers'), []);
  for (const guest of guests) await guest.close();
});
