import { expect, test } from 'vitest';
import { ApiError } from '../api/client';
import { detailsOf, detailsUnder, fieldError, otherErrors } from './errors';

const details = { Name: ['is needed', 'is too long'], 'Monitors[1].IntervalSeconds': ['must be at least 30'], 'Monitors[1]': ['one bound is needed'], '': ['as a whole: no'] };

test('messages find their field in any case', () => {
  expect(fieldError(details, 'name')).toBe('is needed; is too long');
  expect(fieldError(details, 'Description')).toBeUndefined();
  expect(fieldError(null, 'Name')).toBeUndefined();
});

test('messages of a monitor become those of its own form', () => {
  const own = detailsUnder(details, 'Monitors[1]');
  expect(own).toEqual({ IntervalSeconds: ['must be at least 30'], '': ['one bound is needed'] });
  expect(detailsUnder(details, 'Monitors[0]')).toEqual({});
  expect(otherErrors(own, ['IntervalSeconds'])).toEqual(['one bound is needed']);
});

test('nothing that the server complains about stays unseen', () => {
  expect(otherErrors({ Odd: ['is odd'], '': ['no'] }, ['Name'])).toEqual(['Odd: is odd', 'no']);
});

test('only errors of the API have details', () => {
  expect(detailsOf(new ApiError(400, 'VALIDATION_ERROR', 'no', { A: ['b'] }))).toEqual({ A: ['b'] });
  expect(detailsOf(new Error('x'))).toBeNull();
});
