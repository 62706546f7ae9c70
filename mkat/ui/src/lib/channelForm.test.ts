import { expect, test } from 'vitest';
import { MASK, channelSummary, configurationOf, valuesOf } from './channelForm';

test('a configuration survives reading and saving, masks included', () => {
  for (const [type, stored] of [
    [0, { botToken: MASK, chatId: '-100', messageThreadId: 3, silent: true }],
    [1, { to: 'a@x.org, b@x.org', host: 'h', port: 2525, tls: 'none', password: MASK }],
    [2, { url: 'https://x.org', secret: MASK, headers: { Authorization: MASK, 'X-A': MASK } }],
    [3, { accessToken: MASK, atAll: false }],
    [4, { key: MASK }],
  ] as const) {
    expect(JSON.parse(configurationOf(type, valuesOf(JSON.stringify(stored))))).toEqual(stored);
  }
});

test('empty fields are left out, lists become text', () => {
  expect(configurationOf(0, { botToken: ' 1:a ', chatId: '' })).toBe('{"botToken":"1:a"}');
  expect(valuesOf('{"to":["a","b"]}')).toEqual({ to: 'a, b' });
  expect(valuesOf('nonsense')).toEqual({});
});

test('header lines become an object, values may hold colons', () => {
  expect(JSON.parse(configurationOf(2, { url: 'u', headers: 'A: b:c\n\n B:d ' })).headers).toEqual({ A: 'b:c', B: 'd' });
});

test('a summary shows no secret', () => {
  expect(channelSummary(0, '{"botToken":"1:a","chatId":5}')).toBe('5');
  expect(channelSummary(3, '{"accessToken":"t"}')).toBe('');
});
