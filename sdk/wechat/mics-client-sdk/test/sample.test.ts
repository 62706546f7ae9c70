import { readFileSync } from 'node:fs';
import vm from 'node:vm';
import { expect, test } from 'vitest';
import { FakeGateway, until } from '../../../ts/test/gateway.js';
import { makeWx } from './fake_wx.mjs';
import { loadSdk } from './sandbox.mjs';

/** Loads the sample's page with a `Page` that keeps the object, as the framework does. */
function loadPage(): any {
  const code = readFileSync(new URL('../samples/miniprogram/pages/chat/chat.js', import.meta.url), 'utf8');
  let page: any;
  const sdk = loadSdk(makeWx());
  vm.runInNewContext(code, { require: () => sdk, Page: (object: any) => (page = object) });
  page.setData = (data: object) => Object.assign(page.data, data);
  return page;
}

test('the sample page connects, sends to itself and leaves', async () => {
  const gateway = await FakeGateway.start({
    onMessage: (peer, message) => peer.send({ delivery: { message } }),
  });
  const page = loadPage();
  page.onLoad();
  page.onInput({ currentTarget: { dataset: { name: 'url' } }, detail: { value: gateway.url } });
  await page.onConnect();
  expect(page.data.lines).toEqual(['connected as u1']);
  page.setData({ text: '你好' });
  const sending = page.onSend();
  await until('the message is shown', () => page.data.lines.includes('u1: 你好'));
  page.onUnload();
  await sending;
  expect(page.data.lines.at(-1)).toContain('not sent');
  await until('left', () => page.data.state === 'disconnected');
  await gateway.stop();
});
