// One tenant: limits in force, hooks, its figures node by node, and its users.

import { useQuery } from '@tanstack/react-query';
import { api } from '../api/client';
import type { Limits, TenantDetail, TenantRow } from '../api/types';
import { bytes, count, limit, ms, plural } from '../format';
import { Alert, Card, Table } from '../parts/ui';
import { placeOf } from '../place';
import { Hooks } from './hooks';
import { User } from './user';

const EVERY_MS = 2000;

/** `tenant_max_connections` as words, and its value by its unit. */
export function limitRow(name: string, value: number | boolean): [string, string] {
  const words = name.replace(/_ms$/, '').replace(/_qps$/, 's per second').replaceAll('_', ' ').replace('ttl', 'TTL');
  const label = words.charAt(0).toUpperCase() + words.slice(1);
  if (typeof value === 'boolean') return [label, value ? 'yes' : 'no'];
  return [label, name.endsWith('_ms') ? ms(value) : limit(value)];
}

function LimitsInForce({ limits }: { limits: Limits }) {
  const rows = [...Object.entries(limits.tenant ?? {}), ...Object.entries(limits.hooks ?? {}).map(([name, value]) => [`hook_${name}`, value] as const)];
  return (
    <>
      <h3 className="mt-4 mb-1 font-semibold">Limits in force</h3>
      {!limits.tenant && <p className="text-dim">The tenant&apos;s own are told by its first /auth answer, which did not come yet.</p>}
      <dl className="grid grid-cols-1 gap-x-6 sm:grid-cols-2 lg:grid-cols-3" aria-label="Limits in force">
        {rows.map(([name, value]) => {
          const [label, text] = limitRow(name, value);
          return (
            <div key={name} className="border-line flex justify-between gap-3 border-b py-1" data-limit={name}>
              <dt className="text-dim">{label}</dt>
              <dd className="tabular-nums">{text}</dd>
            </div>
          );
        })}
      </dl>
    </>
  );
}

function OnNodes({ detail }: { detail: TenantDetail }) {
  const head = ['Node', 'Connections', 'Users', 'Messages', 'Deliveries', 'Rate limited', 'Degraded', 'Kept messages', 'Events wait', 'Dropped'];
  return (
    <>
      <h3 className="mt-4 mb-1 font-semibold">Node by node</h3>
      <Table label="Figures by node" head={head}>
        {detail.nodes.map((row) => (
          <tr key={row.node} data-node={row.node}>
            <th scope="row">{row.node}</th>
            <td data-cell="connections">{count(row.connections)}</td>
            <td>{count(row.users)}</td>
            <td>{count(row.messages_in)}</td>
            <td>{count(row.deliveries)}</td>
            <td>{count(row.rate_limited)}</td>
            <td>{count(row.hook_degraded)}</td>
            <td>
              {count(row.buffer.messages)} ({bytes(row.buffer.bytes)})
            </td>
            <td>{count(row.events.waiting)}</td>
            <td>{count(row.events.dropped)}</td>
          </tr>
        ))}
      </Table>
      {detail.unreachable.length > 0 && <Alert>Without the figures of {detail.unreachable.join(', ')}, which did not answer.</Alert>}
    </>
  );
}

/** `row`: the tenant's line of the overview, if it is in it. */
export function TenantPanel({ tenant, user, row }: { tenant: string; user: string | null; row: TenantRow | undefined }) {
  const { data, error } = useQuery({
    queryKey: ['tenant', tenant],
    queryFn: ({ signal }) => api.tenant(tenant, signal),
    refetchInterval: EVERY_MS,
  });
  const close = (
    <a className="text-accent underline" href={placeOf(null)}>
      Close
    </a>
  );
  return (
    <Card title={`Tenant ${tenant}`} aside={close}>
      {error && <Alert>{error.message}</Alert>}
      {data && (
        <div data-panel={tenant}>
          <p className="text-dim break-words">
            {plural(data.connections, 'connection')} of {plural(data.users, 'user')}. Hooks at {data.auth_url}
          </p>
          <LimitsInForce limits={data.limits} />
          <h3 className="mt-4 mb-1 font-semibold">Hooks</h3>
          <Hooks hooks={data.hooks} rates={row?.rates ?? null} />
          <OnNodes detail={data} />
          <User key={`${tenant} ${user ?? ''}`} tenant={tenant} user={user} />
        </div>
      )}
      {!data && !error && <p className="text-dim">Asking the nodes…</p>}
    </Card>
  );
}
