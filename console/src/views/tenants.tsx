// The tenants, those with the most connections first, and the way to any other by its id.

import { useState, type FormEvent } from 'react';
import type { Overview, TenantRow } from '../api/types';
import { bytes, count, ms, NONE, rate } from '../format';
import { BreakerBadge } from '../parts/states';
import { Button, Card, Field, Table } from '../parts/ui';
import { placeOf } from '../place';
import { slowest } from './hooks';

const HEAD = [
  'Tenant', 'Connections', 'Messages/s', 'Breaker', 'Slowest hook, p95', 'Deliveries/s', 'Users', 'Kept messages', 'Events wait', 'Dead letters',
];

function Row({ tenant, chosen }: { tenant: TenantRow; chosen: boolean }) {
  const slow = slowest(tenant.rates);
  return (
    <tr data-tenant={tenant.tenant} className={chosen ? 'bg-back' : undefined}>
      <th scope="row">
        <a className="text-accent underline" href={placeOf(tenant.tenant)} aria-current={chosen || undefined}>
          {tenant.tenant}
        </a>
      </th>
      <td data-cell="connections">{count(tenant.connections)}</td>
      <td data-cell="messages">{rate(tenant.rates?.messages_per_second)}</td>
      <td>
        <BreakerBadge state={tenant.breaker} />
      </td>
      <td data-cell="hook">{slow ? `${ms(slow.latency.p95)} ${slow.op}` : NONE}</td>
      <td>{rate(tenant.rates?.deliveries_per_second)}</td>
      <td>{count(tenant.users)}</td>
      <td>
        {count(tenant.buffer.messages)} ({bytes(tenant.buffer.bytes)})
      </td>
      <td>{count(tenant.events.waiting)}</td>
      <td>
        {count(tenant.events.dead_letters_waiting)}
        {tenant.events.dropped > 0 && <span className="text-bad"> ({count(tenant.events.dropped)} dropped)</span>}
      </td>
    </tr>
  );
}

function Find() {
  const [id, setId] = useState('');
  const go = (event: FormEvent) => {
    event.preventDefault();
    window.location.hash = placeOf(id);
  };
  return (
    <form onSubmit={go} className="mt-3 flex items-end gap-2">
      <Field label="Any tenant, by id" value={id} required onChange={(event) => setId(event.target.value)} />
      <Button type="submit">Open</Button>
    </form>
  );
}

export function Tenants({ overview, chosen }: { overview: Overview; chosen: string | null }) {
  const [shown, total] = [overview.tenants.length, overview.tenants_total];
  return (
    <Card title="Tenants" aside={shown < total ? `the ${shown} of ${count(total)} with the most connections on ${overview.node}` : undefined}>
      <Table label="Tenants" head={HEAD}>
        {overview.tenants.map((tenant) => (
          <Row key={tenant.tenant} tenant={tenant} chosen={tenant.tenant === chosen} />
        ))}
      </Table>
      {shown === 0 && <p className="text-dim">This node serves no tenant.</p>}
      <Find />
    </Card>
  );
}
