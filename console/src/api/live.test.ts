import { expect, test } from 'vitest';
import { POINTS, withSample, type Live } from './live';
import type { Overview } from './types';

const sample = (node: string, at_ms: number, messages: number | null = 1): Overview => ({
  at_ms,
  node,
  interval_ms: 1000,
  cluster: { nodes: 1, unreachable: 0, connections: 3, messages_per_second: messages, deliveries_per_second: 2 },
  nodes: [],
  tenants: [],
  tenants_total: 0,
  actors: [],
});
const START: Live = { state: 'lost', overview: null, history: [], problem: 'gone' };

test('a sample makes it live and adds a point; the first has no rates', () => {
  const live = withSample(withSample(START, sample('a', 1000, null)), sample('a', 2000, 7));
  expect([live.state, live.problem]).toEqual(['live', '']);
  expect(live.history.map((point) => point.messages)).toEqual([null, 7]);
});

test('the history is bounded', () => {
  let live = START;
  for (let second = 0; second < POINTS + 10; second++) live = withSample(live, sample('a', second * 1000));
  expect(live.history.length).toBe(POINTS);
  expect(live.history.at(-1)?.at_ms).toBe((POINTS + 9) * 1000);
});

test('another node behind the same address, or a clock set back, begins the history anew', () => {
  const live = withSample(START, sample('a', 5000));
  expect(withSample(live, sample('b', 6000)).history.length).toBe(1);
  expect(withSample(live, sample('a', 4000)).history.length).toBe(1);
});
