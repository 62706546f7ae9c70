import { expect, test } from 'vitest';
import { emptyReceiver, receiverInputOf } from './receiverForm';

test('an empty secret is not sent, so that the present one stays; dropping it is said', () => {
  const form = { ...emptyReceiver(), name: 'prod' };
  expect(receiverInputOf(form)).not.toHaveProperty('bearer');
  expect(receiverInputOf({ ...form, bearer: 's' })).toHaveProperty('bearer', 's');
  expect(receiverInputOf({ ...form, bearer: 's', dropBearer: true })).toHaveProperty('bearer', '');
  expect(receiverInputOf(form)).not.toHaveProperty('dropBearer');
});

test('numbers are sent as typed', () => {
  expect(receiverInputOf({ ...emptyReceiver(), maxServices: 'many' })).toHaveProperty('maxServices', 'many');
});
