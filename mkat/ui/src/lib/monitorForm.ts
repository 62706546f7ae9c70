// A monitor as a form holds it (texts) and as the API takes it (numbers); only the fields of its type are sent.
import type { Monitor, MonitorType } from '../api/types';

export interface MonitorForm {
  /** Of the stored monitor; null for a new one. */
  id: string | null;
  /** Tells rows of a form apart. */
  key: string;
  type: MonitorType;
  intervalSeconds: string;
  gracePeriodSeconds: string;
  minValue: string;
  maxValue: string;
  thresholdStrategy: string;
  thresholdCount: string;
  windowSeconds: string;
  windowSampleCount: string;
  retentionDays: string;
  healthCheckUrl: string;
  httpMethod: string;
  expectedStatusCodes: string;
  timeoutSeconds: string;
  bodyMatchRegex: string;
}

let rows = 0;

/** A new row with values that the server takes. */
export function newMonitor(type: MonitorType = 1): MonitorForm {
  rows += 1;
  return {
    id: null, key: `new-${rows}`, type, intervalSeconds: '300', gracePeriodSeconds: '', minValue: '', maxValue: '',
    thresholdStrategy: '0', thresholdCount: '3', windowSeconds: '300', windowSampleCount: '5', retentionDays: '7',
    healthCheckUrl: '', httpMethod: 'GET', expectedStatusCodes: '200', timeoutSeconds: '10', bodyMatchRegex: '',
  };
}

export function formOf(monitor: Monitor): MonitorForm {
  const empty = newMonitor(monitor.type);
  const text = (value: string | number | null, otherwise: string) => (value === null ? otherwise : String(value));
  return {
    id: monitor.id,
    key: monitor.id,
    type: monitor.type,
    intervalSeconds: String(monitor.intervalSeconds),
    gracePeriodSeconds: String(monitor.gracePeriodSeconds),
    minValue: text(monitor.minValue, ''),
    maxValue: text(monitor.maxValue, ''),
    thresholdStrategy: text(monitor.thresholdStrategy, '0'),
    thresholdCount: text(monitor.thresholdCount, empty.thresholdCount),
    windowSeconds: text(monitor.windowSeconds, empty.windowSeconds),
    windowSampleCount: text(monitor.windowSampleCount, empty.windowSampleCount),
    retentionDays: text(monitor.retentionDays, '7'),
    healthCheckUrl: text(monitor.healthCheckUrl, ''),
    httpMethod: text(monitor.httpMethod, 'GET'),
    expectedStatusCodes: text(monitor.expectedStatusCodes, '200'),
    timeoutSeconds: text(monitor.timeoutSeconds, '10'),
    bodyMatchRegex: text(monitor.bodyMatchRegex, ''),
  };
}

/** A number, nothing, or the text itself for the server to refuse with its own words. */
function numeric(text: string): number | string | null {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  const value = Number(trimmed);
  return Number.isFinite(value) ? value : trimmed;
}

/** The window fields that a strategy uses, by its number. */
export const WINDOW_FIELD = [null, 'thresholdCount', 'windowSeconds', 'windowSampleCount'] as const;

export type MonitorInput = Record<string, string | number | null>;

export function inputOf(form: MonitorForm): MonitorInput {
  const input: MonitorInput = { type: form.type, intervalSeconds: numeric(form.intervalSeconds) };
  const grace = numeric(form.gracePeriodSeconds);
  if (grace !== null) input.gracePeriodSeconds = grace;
  if (form.type === 2) {
    input.healthCheckUrl = form.healthCheckUrl.trim();
    input.httpMethod = form.httpMethod;
    input.expectedStatusCodes = form.expectedStatusCodes.trim() || '200';
    input.timeoutSeconds = numeric(form.timeoutSeconds);
    input.bodyMatchRegex = form.bodyMatchRegex || null;
  }
  if (form.type === 3) {
    const strategy = Number(form.thresholdStrategy);
    input.minValue = numeric(form.minValue);
    input.maxValue = numeric(form.maxValue);
    input.thresholdStrategy = strategy;
    input.retentionDays = numeric(form.retentionDays);
    const window = WINDOW_FIELD[strategy];
    if (window) input[window] = numeric(form[window]);
  }
  return input;
}

/** Whether saving would change anything. */
export function isChanged(form: MonitorForm, stored: Monitor): boolean {
  return JSON.stringify(inputOf(form)) !== JSON.stringify(inputOf(formOf(stored)));
}
