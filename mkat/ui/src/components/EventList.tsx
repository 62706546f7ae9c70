// What the monitors of a service received, newest first; also how one event is told.
import { useQuery } from '@tanstack/react-query';
import { ApiError } from '../api/client';
import { eventsQuery } from '../api/queries';
import type { ServiceEvent } from '../api/types';
import { number } from '../lib/format';
import { Empty, ErrorNote, Loading, Panel, Time } from './ui/basic';

export const EVENT_NAMES: Record<string, string> = {
  WebhookReceived: 'Webhook', HeartbeatReceived: 'Heartbeat', HealthCheckPerformed: 'Health check', MetricIngested: 'Metric', StateChanged: 'State',
};

export function EventList({ serviceId }: { serviceId: string }) {
  const { data, error, isPending } = useQuery(eventsQuery(serviceId));
  if (error instanceof ApiError && error.isMissingEndpoint) return null;
  return (
    <Panel title="Last events">
      <ErrorNote error={error} />
      {isPending && <Loading />}
      {data?.length === 0 && <Empty>Nothing was received yet.</Empty>}
      <ol className="max-h-80 overflow-auto" tabIndex={0} aria-label="Last events">
        {data?.map((event) => (
          <li key={event.id} className="flex flex-wrap gap-x-3 border-b border-line py-1.5 last:border-0">
            <EventKind event={event} />
            <span className="min-w-0 flex-1 break-words">{describeEvent(event)}</span>
            <span className="text-soft"><Time at={event.createdAt} /></span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

export function EventKind({ event }: { event: ServiceEvent }) {
  const fine = event.success && !event.isOutOfRange;
  return <span className={fine ? 'font-medium text-up' : 'font-medium text-down'}>{EVENT_NAMES[event.eventType] ?? event.eventType}</span>;
}

export function describeEvent(event: ServiceEvent): string {
  const value = event.value === null ? '' : event.eventType === 'HealthCheckPerformed' ? `${number(event.value)} ms` : number(event.value);
  const range = event.isOutOfRange ? 'out of range' : '';
  return [value, range, event.message ?? (event.success ? '' : 'failed')].filter(Boolean).join(', ');
}
