// One service: state, monitors with addresses and charts, history, its alerts, its contacts.
import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { ApiError } from '../api/client';
import { alertsQuery, mutesQuery, serviceContactsQuery, serviceQuery } from '../api/queries';
import type { Service } from '../api/types';
import { AlertItem } from '../components/AlertItem';
import { EventList } from '../components/EventList';
import { MonitorPanel } from '../components/MonitorPanel';
import { Pager } from '../components/Pager';
import { ServiceActions } from '../components/ServiceCard';
import { useServiceAction } from '../components/ServiceDialogs';
import { SeverityBadge, StateIndicator } from '../components/StateIndicator';
import { StateHistory } from '../components/StateHistory';
import { Badge, Button, Empty, ErrorNote, Loading, Panel, Time } from '../components/ui/basic';
import { channelTypeName, PAUSED } from '../lib/labels';

export function ServiceDetailPage() {
  const { id } = useParams({ from: '/inside/services/$id' });
  const { data: service, error, isPending } = useQuery(serviceQuery(id));
  if (isPending) return <Loading />;
  if (!service) return <><h1 className="mb-4">Service</h1><ErrorNote error={error} /><Link to="/services" className="link">All services</Link></>;
  return (
    <>
      <p className="mb-1"><Link to="/services" className="link">Services</Link></p>
      <header className="mb-4 flex flex-wrap items-start justify-between gap-3">
        <div className="min-w-0">
          <h1 className="break-words">{service.name}</h1>
          <p className="mt-1 flex flex-wrap items-center gap-2">
            <StateIndicator state={service.state} large />
            <SeverityBadge severity={service.severity} />
            {service.managedBy && <Badge>by {service.managedBy}</Badge>}
          </p>
          {service.description && <p className="mt-2 break-words whitespace-pre-line text-soft">{service.description}</p>}
        </div>
        <ServiceActions service={service} />
      </header>
      <Notices service={service} />
      <div className="grid gap-4 lg:grid-cols-2">
        <div className="flex min-w-0 flex-col gap-4">
          {service.monitors.map((monitor) => <MonitorPanel key={monitor.id} service={service} monitor={monitor} />)}
        </div>
        <div className="flex min-w-0 flex-col gap-4">
          <StateHistory service={service} />
          <Alerts service={service} />
          <Contacts service={service} />
          <EventList serviceId={service.id} />
        </div>
      </div>
    </>
  );
}

/** Pause and mutes in force. */
function Notices({ service }: { service: Service }) {
  const { data: mutes } = useQuery(mutesQuery(service.id));
  const unmute = useServiceAction(service.id);
  const last = mutes?.[mutes.length - 1];
  return (
    <>
      {service.state === PAUSED && (
        <p className="panel mb-4 border-paused">Paused{service.pausedUntil ? <> until <Time at={service.pausedUntil} /></> : ' until somebody resumes it'}.</p>
      )}
      {last && (
        <div className="panel mb-4 flex flex-wrap items-center justify-between gap-2 border-paused">
          <span>Muted: nobody is told until <Time at={last.endsAt} />{last.reason && ` (${last.reason})`}.</span>
          <Button onClick={() => unmute.mutate({ path: '/mute', method: 'delete' })} disabled={unmute.isPending}>Unmute</Button>
          <ErrorNote error={unmute.error} />
        </div>
      )}
    </>
  );
}

function Alerts({ service }: { service: Service }) {
  const [page, setPage] = useState(1);
  const { data, error, isPending } = useQuery(alertsQuery({ serviceId: service.id, page, pageSize: 10 }));
  return (
    <Panel title="Alerts" actions={<Link to="/alerts" search={{ serviceId: service.id }} className="link">With filters</Link>}>
      <ErrorNote error={error} />
      {isPending && <Loading />}
      {data?.items.length === 0 && <Empty>There was no alert yet.</Empty>}
      <ul>{data?.items.map((alert) => <AlertItem key={alert.id} alert={alert} withService={false} />)}</ul>
      {data && data.totalPages > 1 && <Pager page={data} what="alerts" onPage={setPage} />}
    </Panel>
  );
}

function Contacts({ service }: { service: Service }) {
  const { data, error } = useQuery(serviceContactsQuery(service.id));
  if (error instanceof ApiError && error.isMissingEndpoint) return null;
  return (
    <Panel title="Contacts" actions={<Link to="/services/$id/edit" params={{ id: service.id }} className="link">Change</Link>}>
      <ErrorNote error={error} />
      {data?.length === 0 && <p>The default contact is told.</p>}
      <ul>
        {data?.map((contact) => (
          <li key={contact.id} className="flex flex-wrap items-center gap-2 py-1">
            <span className="break-words font-medium">{contact.name}</span>
            {contact.channels.filter((channel) => channel.isEnabled).map((channel) => <Badge key={channel.id}>{channelTypeName(channel.type)}</Badge>)}
            {!contact.channels.some((channel) => channel.isEnabled) && <span className="text-paused">no enabled channel</span>}
          </li>
        ))}
      </ul>
    </Panel>
  );
}
