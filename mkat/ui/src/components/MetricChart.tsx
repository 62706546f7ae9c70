// Readings of a metric over time, as a drawing and, on demand, as a table.
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { readingsQuery, rollupsQuery } from '../api/queries';
import type { Monitor, Reading } from '../api/types';
import { before, plot, thin } from '../lib/chart';
import { instant, number } from '../lib/format';
import { Button, Empty, ErrorNote, Loading } from './ui/basic';

export const RANGES: [hours: number, name: string][] = [[1, '1 h'], [6, '6 h'], [24, '24 h'], [168, '7 d'], [720, '30 d'], [2160, '90 d']];

const WIDTH = 720;
const HEIGHT = 200;
const MOST_POINTS = 360;

export function RangePicker({ hours, onChange, label }: { hours: number; onChange: (hours: number) => void; label: string }) {
  return (
    <div role="group" aria-label={label} className="flex flex-wrap gap-1">
      {RANGES.map(([value, name]) => (
        <Button key={value} look={value === hours ? 'main' : 'quiet'} aria-pressed={value === hours} className="!px-2 !py-0.5 text-xs" onClick={() => onChange(value)}>
          {name}
        </Button>
      ))}
    </div>
  );
}

export function MetricChart({ serviceId, monitor }: { serviceId: string; monitor: Monitor }) {
  const [hours, setHours] = useState(24);
  const [table, setTable] = useState(false);
  const { data, error, isPending } = useQuery(readingsQuery(serviceId, monitor.id, hours));
  const single = data?.readings ?? [];
  // Single values end where their retention or the limit of one answer does; means of whole periods go on.
  const older = useQuery({ ...rollupsQuery(serviceId, monitor.id, hours), enabled: hours > 24 });
  const means = hours > 24 ? before(single, older.data ?? [], monitor) : [];
  const readings = [...single, ...means];
  return (
    <div className="mt-3">
      <div className="mb-2 flex flex-wrap items-center justify-between gap-2">
        <RangePicker hours={hours} onChange={setHours} label="Range of the chart" />
        <Button look="quiet" className="text-xs" aria-pressed={table} onClick={() => setTable(!table)}>As a table</Button>
      </div>
      <ErrorNote error={error} />
      {isPending && <Loading />}
      {data && readings.length === 0 && <Empty>No value in this time.</Empty>}
      {readings.length > 0 && (table ? <Table readings={readings} /> : <Drawing readings={readings} monitor={monitor} />)}
      {data && data.totalCount > single.length && <p className="text-xs text-soft">The newest {single.length} of {data.totalCount} values.</p>}
      {means.length > 0 && <p className="text-xs text-soft">Before that, {means.length} means of {hours <= 720 ? 'hours' : 'days'}.</p>}
    </div>
  );
}

function Drawing({ readings, monitor }: { readings: Reading[]; monitor: Monitor }) {
  const shown = thin([...readings].reverse(), MOST_POINTS);
  const { points, low, high, y } = plot(shown, [monitor.minValue, monitor.maxValue], WIDTH, HEIGHT);
  const [first, last] = [shown[0], shown[shown.length - 1]];
  if (!first || !last) return null;
  const outside = readings.filter((reading) => reading.outOfRange).length;
  const name = `${readings.length} values from ${instant(first.recordedAt)} to ${instant(last.recordedAt)}, ${outside} out of range, last ${number(last.value)}`;
  return (
    <figure>
      <div className="flex gap-2">
        <div className="flex flex-col justify-between text-right text-xs text-soft" aria-hidden>
          <span>{number(high)}</span>
          <span>{number(low)}</span>
        </div>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={name} className="h-48 min-w-0 flex-1 overflow-visible border-b border-l border-line">
          {[monitor.minValue, monitor.maxValue].map((bound, index) => bound !== null && (
            <line key={index === 0 ? 'min' : 'max'} x1={0} x2={WIDTH} y1={y(bound)} y2={y(bound)} className="stroke-down" strokeDasharray="6 4" vectorEffect="non-scaling-stroke" />
          ))}
          <polyline points={points.map((point) => `${point.x},${point.y}`).join(' ')} fill="none" className="stroke-accent" strokeWidth={1.5} vectorEffect="non-scaling-stroke" />
          {points.map((point) => (
            // A line of no length with round ends: a dot that stays round in a stretched drawing.
            (point.reading.outOfRange || points.length < 60) && (
              <path key={point.reading.id} d={`M${point.x} ${point.y}h0.01`} strokeWidth={6} strokeLinecap="round" vectorEffect="non-scaling-stroke" className={point.reading.outOfRange ? 'stroke-down' : 'stroke-accent'}>
                <title>{`${number(point.reading.value)}, ${instant(point.reading.recordedAt)}`}</title>
              </path>
            )
          ))}
        </svg>
      </div>
      <figcaption className="mt-1 flex justify-between text-xs text-soft">
        <span>{instant(first.recordedAt)}</span>
        <span>{instant(last.recordedAt)}</span>
      </figcaption>
    </figure>
  );
}

function Table({ readings }: { readings: Reading[] }) {
  return (
    <div className="max-h-64 overflow-auto" tabIndex={0} role="region" aria-label="Values">
      <table className="w-full text-left">
        <thead><tr><th>Time</th><th>Value</th><th>In range</th></tr></thead>
        <tbody>
          {readings.slice(0, 200).map((reading) => (
            <tr key={reading.id} className="border-t border-line">
              <td>{instant(reading.recordedAt)}</td>
              <td>{number(reading.value)}</td>
              <td className={reading.outOfRange ? 'text-down' : undefined}>{reading.outOfRange ? 'no' : 'yes'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
