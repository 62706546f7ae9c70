import { expect, test } from 'vitest';
import { alertsSearch, nextPlace, servicesSearch } from './search';

test('filters are read leniently and unset ones vanish', () => {
  expect(servicesSearch({ page: 3, search: 12, state: '2', severity: 9 })).toEqual({ page: 3, search: '12', state: 2 });
  expect(servicesSearch({ page: 1, state: '', search: '' })).toEqual({});
  expect(alertsSearch({ acknowledged: 'false', type: 0, serviceId: 'a' })).toEqual({ acknowledged: false, type: 0, serviceId: 'a' });
  expect(alertsSearch({ acknowledged: 'perhaps' })).toEqual({});
});

test('after signing in only places of this page are gone to', () => {
  expect(nextPlace('/services/1?x=2')).toBe('/services/1?x=2');
  for (const bad of ['//evil.example', '/\\evil.example', 'https://evil.example', 'javascript:alert(1)', '/login?next=/', 5, undefined]) {
    expect(nextPlace(bad)).toBe('/');
  }
});
