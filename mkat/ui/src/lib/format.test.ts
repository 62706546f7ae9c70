import { expect, test } from 'vitest';
import { duration, fromLocalInput, percent, relative, toLocalInput } from './format';

test('durations show their two largest units', () => {
  expect(duration(0)).toBe('0 s');
  expect(duration(59.6)).toBe('1 min');
  expect(duration(90)).toBe('1 min 30 s');
  expect(duration(604_800)).toBe('7 d');
  expect(duration(90_061)).toBe('1 d 1 h');
  expect(duration(-5)).toBe('0 s');
});

test('times are told from now', () => {
  const now = Date.parse('2026-01-01T12:00:00Z');
  expect(relative('2026-01-01T11:59:58Z', now)).toBe('just now');
  expect(relative('2026-01-01T11:59:20Z', now)).toBe('40 s ago');
  expect(relative('2026-01-01T10:30:00Z', now)).toBe('1 h ago');
  expect(relative('2026-01-01T12:59:59Z', now)).toBe('in 59 min');
  expect(relative('2025-12-30T12:00:00Z', now)).toBe('2 d ago');
});

test('uptime is never rounded up', () => {
  expect(percent(99.999)).toBe('99.99 %');
  expect(percent(100)).toBe('100.00 %');
});

test('local inputs and instants are the same moment', () => {
  const instant = '2026-03-01T08:30:00.000Z';
  expect(fromLocalInput(toLocalInput(new Date(instant)))).toBe(instant);
  expect(fromLocalInput('')).toBeNull();
  expect(fromLocalInput('soon')).toBeNull();
});
