// The timeline of alerts by day, with filters in the address.
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { alertsQuery, serviceQuery } from '../api/queries';
import type { Alert } from '../api/types';
import { AlertItem } from '../components/AlertItem';
import { Pager } from '../components/Pager';
import { Button, Empty, ErrorNote, Loading } from '../components/ui/basic';
import { SelectField, TextField, numbered } from '../components/ui/fields';
import { fromLocalInput, toLocalInput } from '../lib/format';
import { ALERT_TYPES, SEVERITIES } from '../lib/labels';
import type { AlertsSearch } from '../lib/search';

const ALL: [string, string] = ['', 'All'];
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: 'full' });

export function AlertsPage() {
  const search = useSearch({ from: '/inside/alerts' });
  const navigate = useNavigate({ from: '/alerts' });
  const { data, error, isPending } = useQuery(alertsQuery({ ...search, pageSize: 20 }));
  const narrow = (change: AlertsSearch) => void navigate({ search: (old) => ({ ...old, page: undefined, ...change }), replace: true });

  return (
    <>
      <h1 className="mb-4">Alerts</h1>
      <Filters search={search} narrow={narrow} />
      <ErrorNote error={error} />
      {isPending && <Loading />}
      {data && (
        <>
          {data.items.length === 0 && <Empty>{Object.keys(search).length === 0 ? 'There was no alert yet.' : 'Nothing matches.'}</Empty>}
          {byDay(data.items).map(([day, alerts]) => (
            <section key={day} className="panel mb-3">
              <h2>{day}</h2>
              <ul>{alerts.map((alert) => <AlertItem key={alert.id} alert={alert} />)}</ul>
            </section>
          ))}
          <Pager page={data} what="alerts" onPage={(page) => void navigate({ search: (old) => ({ ...old, page }) })} />
        </>
      )}
    </>
  );
}

function Filters({ search, narrow }: { search: AlertsSearch; narrow: (change: AlertsSearch) => void }) {
  const number = (value: string) => (value === '' ? undefined : Number(value));
  const local = (instant?: string) => (instant && !Number.isNaN(Date.parse(instant)) ? toLocalInput(new Date(instant)) : '');
  return (
    <search className="panel mb-4 grid gap-3 sm:grid-cols-3 lg:grid-cols-5">
      <SelectField label="Type" options={[ALL, ...numbered(ALERT_TYPES)]} value={String(search.type ?? '')} onChange={(value) => narrow({ type: number(value) })} />
      <SelectField label="Severity" options={[ALL, ...numbered(SEVERITIES)]} value={String(search.severity ?? '')} onChange={(value) => narrow({ severity: number(value) })} />
      <SelectField
        label="Acknowledged" options={[ALL, ['false', 'No'], ['true', 'Yes']]} value={String(search.acknowledged ?? '')}
        onChange={(value) => narrow({ acknowledged: value === '' ? undefined : value === 'true' })}
      />
      <TextField label="From" type="datetime-local" value={local(search.from)} onChange={(value) => narrow({ from: fromLocalInput(value) ?? undefined })} />
      <TextField label="To" type="datetime-local" value={local(search.to)} onChange={(value) => narrow({ to: fromLocalInput(value) ?? undefined })} />
      {search.serviceId && <OfService id={search.serviceId} onClear={() => narrow({ serviceId: undefined })} />}
    </search>
  );
}

function OfService({ id, onClear }: { id: string; onClear: () => void }) {
  const { data } = useQuery(serviceQuery(id));
  return (
    <p className="flex flex-wrap items-center gap-2 sm:col-span-3 lg:col-span-5">
      Only of <strong className="break-words">{data?.name ?? 'one service'}</strong> <Button onClick={onClear}>Show all services</Button>
    </p>
  );
}

/** Keeps the order; one entry per local day. */
function byDay(alerts: Alert[]): [string, Alert[]][] {
  const days = new Map<string, Alert[]>();
  for (const alert of alerts) {
    const day = DAY.format(new Date(alert.createdAt));
    days.set(day, [...(days.get(day) ?? []), alert]);
  }
  return [...days];
}
