import { expect, test } from 'vitest';
import { ApiError } from '../api/client';
import type { Contact, Monitor, Service } from '../api/types';
import type { ServiceFormValue } from '../components/ServiceForm';
import { formOf, newMonitor } from './monitorForm';
import { MonitorError, saveService } from './saveService';

const monitor = (id: string) => ({ id, type: 1, intervalSeconds: 300, gracePeriodSeconds: 60 }) as Monitor;
const stored = { id: 's', monitors: [monitor('m1'), monitor('m2')] } as Service;
const contacts = [{ id: 'c1' }] as Contact[];

function recorder(refuse?: string) {
  const calls: string[] = [];
  const call = (method: string) => async (path: string) => {
    calls.push(`${method} ${path}`);
    if (refuse === `${method} ${path}`) throw new ApiError(400, 'VALIDATION_ERROR', 'no', { IntervalSeconds: ['bad'] });
    return { id: 'new' } as never;
  };
  return { calls, api: { post: call('POST'), put: call('PUT'), delete: call('DELETE') } };
}

const value = (change: Partial<ServiceFormValue> = {}): ServiceFormValue => ({
  name: 'n', description: '', severity: '1', monitors: stored.monitors.map(formOf), contactIds: ['c1'], ...change,
});

test('only what changed is sent', async () => {
  const { calls, api } = recorder();
  await saveService(api, stored, contacts, value(), () => {});
  expect(calls).toEqual(['PUT /services/s']);
});

test('monitors are added before others are removed, contacts come last', async () => {
  const { calls, api } = recorder();
  const monitors = [{ ...formOf(monitor('m1')), intervalSeconds: '60' }, newMonitor(0)];
  await saveService(api, stored, contacts, value({ monitors, contactIds: ['c1', 'c2'] }), () => {});
  expect(calls).toEqual(['PUT /services/s', 'PUT /services/s/monitors/m1', 'POST /services/s/monitors', 'DELETE /services/s/monitors/m2', 'PUT /services/s/contacts']);
});

test('a refused monitor is named, and one that was added is not added again', async () => {
  const { calls, api } = recorder('PUT /services/s/monitors/m2');
  const added = newMonitor(0);
  let form = value({ monitors: [added, { ...formOf(monitor('m2')), intervalSeconds: '1' }, formOf(monitor('m1'))] });
  const save = () => saveService(api, stored, contacts, form, (next) => { form = next; });
  const error = await save().catch((one: unknown) => one);
  expect(error).toBeInstanceOf(MonitorError);
  expect(error).toMatchObject({ key: 'm2', message: 'monitor 2: no', details: { IntervalSeconds: ['bad'] } });
  expect(form.monitors[0]?.id).toBe('new');
  await save().catch(() => {});
  expect(calls.filter((call) => call.startsWith('POST'))).toHaveLength(1);
});
