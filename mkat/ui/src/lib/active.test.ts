import { expect, test } from 'vitest';
import type { Alert, Service } from '../api/types';
import { activeAlerts } from './active';

const service = (id: string) => ({ id }) as Service;
const alert = (id: string, serviceId: string, type: 0 | 1, acknowledgedAt: string | null = null) =>
  ({ id, serviceId, type, acknowledgedAt, createdAt: `2026-01-01T00:00:0${id}Z` }) as Alert;

test('the newest failure of each service that is down, unacknowledged first', () => {
  const alerts = [alert('5', 'a', 0, 'x'), alert('4', 'b', 0), alert('3', 'a', 0), alert('2', 'c', 1)];
  const { active, silent } = activeAlerts([service('a'), service('b'), service('c')], alerts);
  expect(active.map((one) => one.id)).toEqual(['4', '5']);
  expect(silent.map((one) => one.id)).toEqual(['c']);
});
