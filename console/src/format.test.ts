import { expect, test } from 'vitest';
import { bytes, count, limit, ms, NONE, plural, rate, span } from './format';

test('what is not known is a dash, and never a zero', () => {
  expect([count(undefined), rate(null), ms(null)]).toEqual([NONE, NONE, NONE]);
  expect([count(0), rate(0), ms(0)]).toEqual(['0', '0', '0 ms']);
});

test('figures have as many digits as help', () => {
  expect([count(1234567), rate(9.96), rate(1234.5)]).toEqual(['1,234,567', '10', '1,235']);
  expect([ms(1.25), ms(12.6), ms(1500), ms(300_000)]).toEqual(['1.3 ms', '13 ms', '1.5 s', '300 s']);
  expect([bytes(999), bytes(1000), bytes(12_345_678), bytes(9e15)]).toEqual(['999 B', '1 kB', '12.3 MB', '9,000 TB']);
  expect([limit(0), limit(10_000)]).toEqual(['none', '10,000']);
  expect([plural(0, 'node'), plural(1, 'node'), plural(2000, 'node')]).toEqual(['0 nodes', '1 node', '2,000 nodes']);
});

test('time spans show their two largest units', () => {
  const cases: [number, string][] = [
    [-5, '0 s'], [999, '0 s'], [61_000, '1 min 1 s'], [3_600_000, '1 h'], [3_661_000, '1 h 1 min'], [90_000_000, '1 d 1 h'], [86_460_000, '1 d'],
  ];
  for (const [value, text] of cases) expect(span(value)).toBe(text);
});
