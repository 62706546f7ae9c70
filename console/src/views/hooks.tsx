// Hooks of a tenant: latency and breaker, of now where there are calls now.

import type { Hook, Latency, Rates } from '../api/types';
import { count, ms, NONE, rate } from '../format';
import { BreakerBadge } from '../parts/states';
import { Table } from '../parts/ui';

/** The slowest hook of the last sample by its 95th percentile; null when none was called. */
export function slowest(rates: Rates | null): { op: string; latency: Latency } | null {
  const called = (rates?.hooks ?? []).flatMap(({ op, latency_ms }) => (latency_ms ? [{ op, latency: latency_ms }] : []));
  return called.sort((a, b) => b.latency.p95 - a.latency.p95)[0] ?? null;
}

export function Hooks({ hooks, rates }: { hooks: Hook[]; rates: Rates | null }) {
  const now = (op: string) => rates?.hooks.find((hook) => hook.op === op);
  return (
    <Table
      label="Hooks"
      head={['Hook', 'Breaker', 'Openings', 'In flight', 'Calls per second', 'p95 now', 'p50', 'p95', 'p99', 'Calls']}
    >
      {hooks.map((hook) => (
        <tr key={hook.op} data-hook={hook.op}>
          <th scope="row">{hook.op}</th>
          <td>
            <BreakerBadge state={hook.breaker} />
          </td>
          <td>{count(hook.openings)}</td>
          <td>{count(hook.in_flight)}</td>
          <td>{rate(now(hook.op)?.calls_per_second)}</td>
          <td>{ms(now(hook.op)?.latency_ms?.p95)}</td>
          <td>{hook.latency_ms ? ms(hook.latency_ms.p50) : NONE}</td>
          <td>{hook.latency_ms ? ms(hook.latency_ms.p95) : NONE}</td>
          <td>{hook.latency_ms ? ms(hook.latency_ms.p99) : NONE}</td>
          <td>{count(hook.calls)}</td>
        </tr>
      ))}
    </Table>
  );
}
