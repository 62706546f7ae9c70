// What happened last anywhere: changes of state and what monitors received, newest first.
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { recentEventsQuery } from '../api/queries';
import { EVENT_NAMES, EventKind, describeEvent } from './EventList';
import { Pager } from './Pager';
import { Empty, ErrorNote, Loading, Panel, Time } from './ui/basic';

const PAGE_SIZE = 12;

export function RecentEvents() {
  const [page, setPage] = useState(1);
  const [eventType, setEventType] = useState('');
  const { data, error, isPending } = useQuery(recentEventsQuery({ page, pageSize: PAGE_SIZE, eventType }));
  return (
    <Panel
      title="Recent events"
      actions={
        <select
          className="input w-auto" aria-label="Kind of events" value={eventType}
          onChange={(event) => {
            setEventType(event.target.value);
            setPage(1);
          }}
        >
          <option value="">All</option>
          {Object.entries(EVENT_NAMES).map(([kind, name]) => <option key={kind} value={kind}>{name}</option>)}
        </select>
      }
    >
      <ErrorNote error={error} />
      {isPending && <Loading />}
      {data?.items.length === 0 && <Empty>{eventType ? 'Nothing of this kind.' : 'Nothing happened yet.'}</Empty>}
      <ol aria-label="Recent events">
        {data?.items.map((event) => (
          <li key={event.id} className="flex flex-wrap gap-x-3 border-b border-line py-2 last:border-0">
            <EventKind event={event} />
            <Link to="/services/$id" params={{ id: event.serviceId }} className="link min-w-0 break-words">{event.serviceName}</Link>
            <span className="ml-auto text-soft"><Time at={event.createdAt} /></span>
            <span className="w-full min-w-0 break-words text-soft">{describeEvent(event)}</span>
          </li>
        ))}
      </ol>
      {data && data.totalPages > 1 && <Pager page={data} what="events" quiet onPage={setPage} />}
    </Panel>
  );
}
