// What the views make of the API's answers.
import { expect, test } from 'vitest';
import { treeOf } from './actors';
import type { Actor, Latency } from './api/types';
import { POINTS } from './api/live';
import { pathOf } from './parts/spark';
import { slowest } from './views/hooks';
import { limitRow } from './views/tenant';
import { outcome } from './views/user';

const actor = (kind: string, tenant: string, depth: number, capacity: number): Actor => ({
  kind, tenant, depth, capacity, handled: 1, refused: 0, restarts: 0,
});

test('the actor tree: the node first, pools summed with their fullest mailbox', () => {
  const tree = treeOf([actor('session', 't2', 0, 8), actor('router', '', 1, 10), actor('session', 't1', 8, 8), actor('router', '', 9, 10)]);
  expect(tree.map((branch) => branch.tenant)).toEqual(['', 't1', 't2']);
  expect(tree[0]?.kinds).toEqual([
    { kind: 'router', actors: 2, depth: 10, capacity: 20, fullest: 0.9, handled: 2, refused: 0, restarts: 0 },
  ]);
  expect(treeOf([actor('x', '', 0, 0)])[0]?.kinds[0]?.fullest).toBe(0);
});

test('the slowest hook is the one with the largest p95 of those called', () => {
  const latency = (p95: number): Latency => ({ mean: 1, p50: 1, p95, p99: p95 });
  const hooks = [['Auth', 2], ['CheckMessage', 9], ['GetGroupMembers', null]] as const;
  const rates = {
    messages_per_second: 0,
    deliveries_per_second: 0,
    hooks: hooks.map(([op, p95]) => ({ op, calls_per_second: 1, latency_ms: p95 === null ? null : latency(p95) })),
  };
  expect(slowest(rates)?.op).toBe('CheckMessage');
  expect([slowest(null), slowest({ ...rates, hooks: [] })]).toEqual([null, null]);
});

test('limits are named and valued for people', () => {
  expect(limitRow('tenant_max_message_qps', 0)).toEqual(['Tenant max messages per second', 'none']);
  expect(limitRow('offline_ttl_ms', 300_000)).toEqual(['Offline TTL', '300 s']);
  expect(limitRow('hook_sign_required', false)).toEqual(['Hook sign required', 'no']);
});

test('a kick that a node did not answer says so', () => {
  expect(outcome({ closed: 1, complete: true, nodes: [{ node: 'a', closed: 1 }] })).toBe('1 connection closed.');
  const half = outcome({ closed: 2, complete: false, nodes: [{ node: 'a', closed: 2 }, { node: 'b', error: 'timeout' }] });
  expect(half).toBe('2 connections closed. b did not answer and may have more: try again.');
});

test('a line ends at the right edge, is flat at nothing, and has gaps', () => {
  expect(pathOf([])).toBe('');
  expect(pathOf([0, 0])).toMatch(/^M238\.0 38\.0L240\.0 38\.0$/);
  expect(pathOf([1, null, 2]).match(/M/g)?.length).toBe(2);
  expect(pathOf(Array<number>(POINTS).fill(5)).startsWith('M0.0 2.0')).toBe(true);
});
