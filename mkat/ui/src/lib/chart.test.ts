import { expect, test } from 'vitest';
import type { Reading } from '../api/types';
import { before, plot, thin } from './chart';

const reading = (second: number, value: number): Reading => ({
  id: String(second), value, recordedAt: new Date(second * 1000).toISOString(), outOfRange: false,
});

test('readings are placed by time and value, bounds are in view', () => {
  const { points, low, high, y } = plot([reading(20, 10), reading(0, 0)], [null, 20], 100, 50);
  expect(points.map((point) => point.x)).toEqual([0, 100]);
  expect(low).toBe(-1);
  expect(high).toBe(21);
  expect(y(high)).toBe(0);
  expect(y(low)).toBe(50);
});

test('one value and no value do not break the drawing', () => {
  const one = plot([reading(0, 5)], [], 100, 50).points[0];
  expect(one?.x).toBe(50);
  expect(one?.y).toBeCloseTo(25);
  expect(plot([], [], 100, 50).points).toEqual([]);
});

test('thinning keeps the peaks and the order', () => {
  const many = Array.from({ length: 1000 }, (_, second) => reading(second, second === 637 ? 1000 : second === 638 ? -1000 : second % 7));
  const kept = thin(many, 100);
  expect(kept.length).toBeLessThanOrEqual(101);
  expect(kept.map((one) => one.value)).toEqual(expect.arrayContaining([1000, -1000]));
  expect(kept.map((one) => Number(one.id))).toEqual(kept.map((one) => Number(one.id)).sort((a, b) => a - b));
  expect(thin(many.slice(0, 10), 100)).toHaveLength(10);
});

test('means go on where single values end, and tell whether anything in them was out of range', () => {
  const rollup = (second: number, min: number, mean: number, max: number) => ({ periodStart: new Date(second * 1000).toISOString(), count: 2, min, mean, max });
  const rollups = [rollup(0, 1, 2, 3), rollup(3600, 1, 5, 9), rollup(7200, 1, 1, 1)];
  const older = before([reading(9000, 1), reading(7100, 1)], rollups, { minValue: null, maxValue: 8 });
  expect(older.map((one) => [one.value, one.outOfRange])).toEqual([[5, true], [2, false]]);
  expect(before([], rollups, { minValue: 0, maxValue: null })).toHaveLength(3);
});
