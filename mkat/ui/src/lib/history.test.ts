import { expect, test } from 'vitest';
import type { ServiceState, Transition } from '../api/types';
import { stretches, uptimePercent } from './history';

const at = (minute: number) => Date.parse('2026-01-01T00:00:00Z') + minute * 60_000;
const change = (minute: number, from: ServiceState, to: ServiceState): Transition => ({
  id: minute, monitorId: null, from, to, trigger: 'webhook', reason: null, createdAt: new Date(at(minute)).toISOString(),
});

test('changes become stretches without gaps', () => {
  const parts = stretches([change(40, 2, 1), change(30, 1, 2)], 1, at(0), at(60), true);
  expect(parts).toEqual([
    { state: 1, from: at(0), to: at(30) },
    { state: 2, from: at(30), to: at(40) },
    { state: 1, from: at(40), to: at(60) },
  ]);
  expect(uptimePercent(parts)).toBeCloseTo(100 * (50 / 60));
});

test('what is older than the known changes is left out', () => {
  expect(stretches([change(30, 1, 2)], 2, at(0), at(60), false)).toEqual([{ state: 2, from: at(30), to: at(60) }]);
});

test('a change before the range cuts there', () => {
  expect(stretches([change(-5, 0, 1)], 1, at(0), at(60), true)).toEqual([{ state: 1, from: at(0), to: at(60) }]);
});

test('without changes the present state fills the range; unknown and paused time is not counted', () => {
  const parts = stretches([], 3, at(0), at(60), true);
  expect(parts).toEqual([{ state: 3, from: at(0), to: at(60) }]);
  expect(uptimePercent(parts)).toBeNull();
  expect(uptimePercent([])).toBeNull();
});

test('changes of a monitor alone do not count', () => {
  expect(stretches([change(20, 1, 1)], 1, at(0), at(60), true)).toEqual([{ state: 1, from: at(0), to: at(60) }]);
});
