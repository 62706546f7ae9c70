// Uptime and the stretches of state in a range of time, with the changes behind them.
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { ApiError } from '../api/client';
import { transitionsQuery, uptimeQuery } from '../api/queries';
import type { Service } from '../api/types';
import { duration, instant, percent } from '../lib/format';
import { stretches, uptimePercent } from '../lib/history';
import { stateName } from '../lib/labels';
import { RangePicker } from './MetricChart';
import { StateIndicator } from './StateIndicator';
import { Empty, ErrorNote, Panel, Time, useNow } from './ui/basic';

const FILL = ['fill-unknown', 'fill-up', 'fill-down', 'fill-paused'];
const WIDTH = 1000;

export function StateHistory({ service }: { service: Service }) {
  const [hours, setHours] = useState(24);
  const now = useNow(30_000);
  const { data, error } = useQuery(transitionsQuery(service.id, hours));
  const from = Math.max(now - hours * 3_600_000, Date.parse(service.createdAt));
  const parts = data ? stretches(data.items, service.state, from, Math.max(now, from + 1), !data.hasNextPage) : [];
  return (
    <Panel title="History" actions={<RangePicker hours={hours} onChange={setHours} label="Range of the history" />}>
      <ErrorNote error={error} />
      <UptimeLine service={service} hours={hours} computed={data && !data.hasNextPage ? uptimePercent(parts) : null} />
      <svg viewBox={`0 0 ${WIDTH} 10`} preserveAspectRatio="none" role="img" aria-label={describe(parts)} className="h-6 w-full rounded bg-hover">
        {parts.map((part) => (
          <rect key={part.from} x={((part.from - from) / (now - from)) * WIDTH} width={((part.to - part.from) / (now - from)) * WIDTH} height={10} className={FILL[part.state]}>
            <title>{`${stateName(part.state)} for ${duration((part.to - part.from) / 1000)}, from ${instant(new Date(part.from).toISOString())}`}</title>
          </rect>
        ))}
      </svg>
      {data?.items.length === 0 && <Empty>No change in this time.</Empty>}
      <ol className="mt-2 max-h-72 overflow-auto" tabIndex={0} aria-label="Changes of state">
        {data?.items.filter((one) => one.from !== one.to).slice(0, 50).map((one) => (
          <li key={one.id} className="flex flex-wrap gap-x-3 border-b border-line py-1.5 last:border-0">
            <StateIndicator state={one.to} />
            <span className="min-w-0 flex-1 break-words">{one.reason ?? one.trigger.replaceAll('_', ' ')}</span>
            <span className="text-soft"><Time at={one.createdAt} /></span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

function describe(parts: { state: 0 | 1 | 2 | 3; from: number; to: number }[]): string {
  const total = [0, 0, 0, 0];
  for (const part of parts) total[part.state] = (total[part.state] ?? 0) + part.to - part.from;
  const said = total.map((time, state) => (time > 0 ? `${stateName(state as 0)} ${duration(time / 1000)}` : '')).filter(Boolean);
  return said.join(', ') || 'No history';
}

/** The server's figure; what the shown history gives, where the server has none. */
function UptimeLine({ service, hours, computed }: { service: Service; hours: number; computed: number | null }) {
  const { data, error } = useQuery(uptimeQuery(service.id, hours));
  if (error && !(error instanceof ApiError && error.isMissingEndpoint)) return <ErrorNote error={error} />;
  const known = data && data.upSeconds + data.downSeconds > 0 ? data.uptimePercent : null;
  const value = error ? computed : known;
  return <p className="mb-2" data-uptime={value ?? ''}>Uptime <strong>{value === null ? 'not known' : percent(value)}</strong></p>;
}
