import { expect, test } from 'vitest';
import type { Monitor } from '../api/types';
import { formOf, inputOf, isChanged, newMonitor } from './monitorForm';

const metric = {
  id: 'm', type: 3, state: 0, token: 't', intervalSeconds: 300, gracePeriodSeconds: 60, lastCheckIn: null, minValue: null, maxValue: 60,
  thresholdStrategy: 2, thresholdCount: null, windowSeconds: 90, windowSampleCount: null, retentionDays: 30, healthCheckUrl: null,
  httpMethod: null, expectedStatusCodes: null, timeoutSeconds: null, bodyMatchRegex: null,
} as unknown as Monitor;

test('a new monitor of every type holds values that the server takes', () => {
  for (const type of [0, 1, 2, 3] as const) {
    const input = inputOf(newMonitor(type));
    expect(input.intervalSeconds).toBe(300);
    expect(input.gracePeriodSeconds).toBeUndefined();
  }
});

test('each strategy sends its own window and no other', () => {
  const form = { ...newMonitor(3), maxValue: '1.5' };
  const sent = (thresholdStrategy: string) => inputOf({ ...form, thresholdStrategy });
  const windows = ['thresholdCount', 'windowSeconds', 'windowSampleCount'];
  for (const [strategy, own] of [['0', null], ['1', 'thresholdCount'], ['2', 'windowSeconds'], ['3', 'windowSampleCount']] as const) {
    const input = sent(strategy);
    expect(input.thresholdStrategy).toBe(Number(strategy));
    expect(windows.filter((key) => key in input)).toEqual(own ? [own] : []);
    expect([input.minValue, input.maxValue]).toEqual([null, 1.5]);
  }
});

test('fields of other types are not sent', () => {
  expect(Object.keys(inputOf(newMonitor(1))).sort()).toEqual(['intervalSeconds', 'type']);
  expect(inputOf({ ...newMonitor(2), healthCheckUrl: ' https://example.org ' })).toMatchObject({ healthCheckUrl: 'https://example.org', httpMethod: 'GET' });
});

test('what is no number is left for the server to refuse', () => {
  expect(inputOf({ ...newMonitor(1), intervalSeconds: 'often' }).intervalSeconds).toBe('often');
  expect(inputOf({ ...newMonitor(1), intervalSeconds: ' ' }).intervalSeconds).toBeNull();
});

test('a stored monitor comes back as it was', () => {
  const form = formOf(metric);
  expect(isChanged(form, metric)).toBe(false);
  expect(inputOf(form)).toMatchObject({ thresholdStrategy: 2, windowSeconds: 90, maxValue: 60, minValue: null, retentionDays: 30 });
  expect(isChanged({ ...form, windowSeconds: '91' }, metric)).toBe(true);
});
