import { QueryClient, QueryObserver } from '@tanstack/react-query';
import { expect, test, vi } from 'vitest';
import { stale, touched, waitBefore } from './live';

const event = (name: string, data: unknown) => ({ id: '1', event: name, data: JSON.stringify(data) });

test('a signal of a monitor refreshes its service and the newest events, no list', () => {
  for (const name of ['heartbeat', 'metric', 'received']) {
    expect(touched(event(name, { serviceId: 's' }))).toEqual([['service', 's'], ['events']]);
  }
});

test('a change of state refreshes lists, counts and alerts', () => {
  const keys = touched(event('state_change', { serviceId: 's' })).map((key) => key[0]);
  expect(keys).toEqual(expect.arrayContaining(['service', 'services', 'summary', 'alerts', 'peers', 'events', 'receivers']));
});

test('what is not understood refreshes everything', () => {
  expect(touched(event('reset', {}))).toEqual([[]]);
  expect(touched(event('news', {}))).toEqual([[]]);
  expect(touched({ id: '', event: 'alert_created', data: '{' })).toEqual([[]]);
});

test('waits grow, with jitter, up to a bound', () => {
  expect(waitBefore(0, 0)).toBe(250);
  expect(waitBefore(0, 1)).toBe(500);
  expect(waitBefore(3, 1)).toBe(4000);
  expect(waitBefore(50, 1)).toBe(30_000);
});

test('what happens while the first answer is on its way is asked for again', async () => {
  const client = new QueryClient();
  const answers: ((value: string) => void)[] = [];
  const queryFn = () => new Promise<string>((resolve) => answers.push(resolve));
  const observer = new QueryObserver(client, { queryKey: ['events', {}], queryFn });
  const stop = observer.subscribe(() => {});
  stale(client, ['events']);
  expect(answers).toHaveLength(1);
  answers[0]?.('old');
  await vi.waitFor(() => expect(answers).toHaveLength(2));
  answers[1]?.('new');
  await vi.waitFor(() => expect(observer.getCurrentResult().data).toBe('new'));
  stop();
});
