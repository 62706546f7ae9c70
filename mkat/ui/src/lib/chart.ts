// Arithmetic of the chart of readings, apart from its drawing.
import type { Monitor, Reading, Rollup } from '../api/types';

export interface Point {
  x: number;
  y: number;
  reading: Reading;
}

export interface Plot {
  points: Point[];
  /** Lowest and highest value shown. */
  low: number;
  high: number;
  /** Height of a value. */
  y: (value: number) => number;
}

/** Places readings (any order) into a box of `width` by `height`; the bounds of the monitor are always in view. */
export function plot(readings: Reading[], bounds: (number | null)[], width: number, height: number): Plot {
  const sorted = [...readings].sort((a, b) => a.recordedAt.localeCompare(b.recordedAt));
  const values = [...sorted.map((reading) => reading.value), ...bounds.filter((bound) => bound !== null)];
  let low = values.reduce((least, value) => Math.min(least, value), Infinity);
  let high = values.reduce((most, value) => Math.max(most, value), -Infinity);
  if (!Number.isFinite(low)) [low, high] = [0, 1];
  if (low === high) [low, high] = [low - 1, high + 1];
  const room = (high - low) * 0.05;
  [low, high] = [low - room, high + room];
  const y = (value: number) => height - ((value - low) / (high - low)) * height;
  const times = sorted.map((reading) => Date.parse(reading.recordedAt));
  const start = times[0] ?? 0;
  const span = (times[times.length - 1] ?? 0) - start || 1;
  const points = sorted.map((reading, index) => ({
    x: sorted.length === 1 ? width / 2 : (((times[index] ?? start) - start) / span) * width,
    y: y(reading.value),
    reading,
  }));
  return { points, low, high, y };
}

/** At most about `most` readings: of every group the lowest and the highest stay, so no peak is lost. */
export function thin(readings: Reading[], most: number): Reading[] {
  if (readings.length <= most) return readings;
  const size = Math.ceil((readings.length * 2) / most);
  const kept: Reading[] = [];
  for (let start = 0; start < readings.length; start += size) {
    const group = readings.slice(start, start + size);
    const low = group.reduce((a, b) => (b.value < a.value ? b : a));
    const high = group.reduce((a, b) => (b.value > a.value ? b : a));
    kept.push(...(low === high ? [low] : group.indexOf(low) < group.indexOf(high) ? [low, high] : [high, low]));
  }
  return kept;
}

/** The means of whole periods before the oldest of `readings` (newest first), as readings, newest first. */
export function before(readings: Reading[], rollups: Rollup[], { minValue, maxValue }: Pick<Monitor, 'minValue' | 'maxValue'>): Reading[] {
  const oldest = readings[readings.length - 1]?.recordedAt;
  const end = oldest === undefined ? Infinity : Date.parse(oldest);
  const outside = (value: number | null) => value !== null && ((minValue !== null && value < minValue) || (maxValue !== null && value > maxValue));
  const means = rollups.flatMap(({ periodStart, mean, min, max }) => {
    if (mean === null || Date.parse(periodStart) >= end) return [];
    return [{ id: periodStart, value: mean, recordedAt: periodStart, outOfRange: outside(min) || outside(max) }];
  });
  return means.sort((a, b) => Date.parse(b.recordedAt) - Date.parse(a.recordedAt));
}
