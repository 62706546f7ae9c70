import { expect, test } from 'vitest';
import { baseOf } from './base';

test('the base is what the server wrote, without a slash at its end', () => {
  expect(baseOf('')).toBe('');
  expect(baseOf(undefined)).toBe('');
  expect(baseOf('/mkat')).toBe('/mkat');
  expect(baseOf('/MKAT/')).toBe('/MKAT');
  expect(baseOf('__MKAT_BASE__')).toBe('');
});
