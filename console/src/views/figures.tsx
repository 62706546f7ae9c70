// The cluster in a row of figures.

import type { Live } from '../api/live';
import { bytes, count, rate } from '../format';
import { Spark } from '../parts/spark';
import type { Overview } from '../api/types';

function Figure({ name, value, note, values }: { name: string; value: string; note?: string; values?: (number | null)[] }) {
  return (
    <div className="bg-card border-line min-w-0 rounded-xl border p-3">
      <dt className="text-dim text-xs">{name}</dt>
      <dd className="text-xl font-semibold tabular-nums" data-figure={name}>
        {value}
      </dd>
      {note && <dd className="text-dim text-xs">{note}</dd>}
      {values && (
        <dd aria-hidden="true">
          <Spark values={values} />
        </dd>
      )}
    </div>
  );
}

export function Figures({ overview, history }: { overview: Overview; history: Live['history'] }) {
  const { cluster, tenants } = overview;
  const sum = (of: (tenant: (typeof tenants)[number]) => number) => tenants.reduce((sum, tenant) => sum + of(tenant), 0);
  const open = tenants.filter((tenant) => tenant.breaker !== 'closed').length;
  const [buffered, letters] = [sum((t) => t.buffer.messages), sum((t) => t.events.dead_letters_waiting)];
  return (
    <dl className="grid grid-cols-2 gap-3 lg:grid-cols-3" aria-label="Cluster">
      <Figure name="Messages per second" value={rate(cluster.messages_per_second)} values={history.map((point) => point.messages)} />
      <Figure name="Deliveries per second" value={rate(cluster.deliveries_per_second)} values={history.map((point) => point.deliveries)} />
      <Figure name="Connections" value={count(cluster.connections)} values={history.map((point) => point.connections)} />
      <Figure
        name="Nodes"
        value={count(cluster.nodes)}
        note={cluster.unreachable > 0 ? `${cluster.unreachable} unreachable: figures are without them` : 'all answer'}
      />
      <Figure
        name="Tenants"
        value={count(overview.tenants_total)}
        note={open > 0 ? `${open} with a hook breaker that is not closed` : 'all hook breakers closed'}
      />
      <Figure
        name="Kept messages"
        value={count(buffered)}
        note={`${bytes(sum((t) => t.buffer.bytes))}; ${count(sum((t) => t.events.waiting))} events, ${count(letters)} dead letters wait`}
      />
    </dl>
  );
}
