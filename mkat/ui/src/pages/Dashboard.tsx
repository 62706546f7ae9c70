// At a glance: how many services are in each state, what is wrong now, what happened last, the peers.
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { clsx } from 'clsx';
import { alertsQuery, peersQuery, servicesQuery, summaryQuery } from '../api/queries';
import { ApiError } from '../api/client';
import { AlertItem } from '../components/AlertItem';
import { RecentEvents } from '../components/RecentEvents';
import { STATE_TEXT, StateIndicator } from '../components/StateIndicator';
import { Empty, ErrorNote, Loading, Panel } from '../components/ui/basic';
import { activeAlerts } from '../lib/active';
import { STATES, DOWN } from '../lib/labels';

const ORDER = [
  [2, 'down'], [0, 'unknown'], [3, 'paused'], [1, 'up'],
] as const;

export function DashboardPage() {
  return (
    <>
      <h1 className="mb-4">Dashboard</h1>
      <Overview />
      <div className="mt-4 grid gap-4 lg:grid-cols-2">
        <ActiveAlerts />
        <div className="flex min-w-0 flex-col gap-4">
          <RecentEvents />
          <Peers />
        </div>
      </div>
    </>
  );
}

function Overview() {
  const { data, error } = useQuery(summaryQuery);
  if (error) return <ErrorNote error={error} />;
  return (
    <ul className="grid grid-cols-2 gap-2 sm:grid-cols-4" aria-label="Services by state">
      {ORDER.map(([state, key]) => (
        <li key={key}>
          <Link to="/services" search={{ state }} className="panel block hover:bg-hover" data-state={key}>
            <span className={clsx('block text-3xl font-bold', STATE_TEXT[state])}>{data?.[key] ?? '–'}</span>
            <span className="text-soft">{STATES[state]}</span>
          </Link>
        </li>
      ))}
    </ul>
  );
}

function ActiveAlerts() {
  const down = useQuery(servicesQuery({ state: DOWN, pageSize: 50 }));
  const alerts = useQuery(alertsQuery({ pageSize: 100 }));
  const error = down.error ?? alerts.error;
  if (error) return <Panel title="Active alerts"><ErrorNote error={error} /></Panel>;
  if (!down.data || !alerts.data) return <Panel title="Active alerts"><Loading /></Panel>;
  const { active, silent } = activeAlerts(down.data.items, alerts.data.items);
  return (
    <Panel title="Active alerts" actions={<Link to="/alerts" search={{ acknowledged: false }} className="link">All open alerts</Link>}>
      {down.data.totalCount === 0 && <Empty>Nothing is down.</Empty>}
      <ul>
        {active.map((alert) => <AlertItem key={alert.id} alert={alert} />)}
        {silent.map((service) => (
          <li key={service.id} className="flex gap-3 border-b border-line py-3 last:border-0">
            <StateIndicator state={service.state} />
            <Link to="/services/$id" params={{ id: service.id }} className="link min-w-0 break-words">{service.name}</Link>
          </li>
        ))}
      </ul>
      {down.data.totalPages > 1 && <Link to="/services" search={{ state: DOWN }} className="link">All {down.data.totalCount} services that are down</Link>}
    </Panel>
  );
}

function Peers() {
  const { data, error } = useQuery(peersQuery);
  if (error instanceof ApiError && error.isMissingEndpoint) return null;
  return (
    <Panel title="Peers" actions={<Link to="/peers" className="link">Manage</Link>}>
      <ErrorNote error={error} />
      {data?.length === 0 && <Empty>No other instance watches this one.</Empty>}
      <ul>
        {data?.map((peer) => (
          <li key={peer.id} className="flex flex-wrap items-center gap-3 py-1">
            <StateIndicator state={peer.serviceState ?? 0} />
            <Link to="/services/$id" params={{ id: peer.serviceId }} className="link min-w-0 break-words">{peer.name}</Link>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
