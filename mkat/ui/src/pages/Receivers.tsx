// Receivers: where Alertmanagers report to, what fires there, and whether the pipeline itself is alive.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { Plus } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/client';
import { firingQuery, receiversQuery } from '../api/queries';
import type { Receiver } from '../api/types';
import { CopyableUrl } from '../components/CopyableUrl';
import { Fact } from '../components/MonitorPanel';
import { ReceiverDialog } from '../components/ReceiverDialog';
import { SeverityBadge, StateIndicator } from '../components/StateIndicator';
import { Badge, Button, Empty, ErrorNote, Loading, Panel, Time } from '../components/ui/basic';
import { FormDialog } from '../components/ui/dialog';
import { duration } from '../lib/format';
import { PAUSED } from '../lib/labels';

export function ReceiversPage() {
  const [creating, setCreating] = useState(false);
  const { data, error, isPending } = useQuery(receiversQuery);
  return (
    <>
      <div className="mb-4 flex items-center justify-between gap-2">
        <h1>Receivers</h1>
        <Button look="main" onClick={() => setCreating(true)}><Plus aria-hidden size={16} /> New receiver</Button>
      </div>
      <p className="mb-4 text-soft">A Prometheus Alertmanager posts to a receiver: firing alerts make services Down, resolved ones make them Up.</p>
      <ErrorNote error={error} />
      {isPending && <Loading />}
      {data?.length === 0 && <Empty>There is no receiver yet.</Empty>}
      <div className="flex flex-col gap-4">{data?.map((receiver) => <ReceiverPanel key={receiver.id} receiver={receiver} />)}</div>
      {creating && <ReceiverDialog receiver={null} onClose={() => setCreating(false)} />}
    </>
  );
}

function ReceiverPanel({ receiver }: { receiver: Receiver }) {
  const [dialog, setDialog] = useState<'change' | 'rotate' | 'delete' | null>(null);
  const close = () => setDialog(null);
  return (
    <Panel
      title={<span className="break-words">{receiver.name} {receiver.hasBearer && <Badge>wants a bearer secret</Badge>}</span>}
      actions={
        <span className="flex flex-wrap gap-1">
          <Button onClick={() => setDialog('change')} aria-label={`Change ${receiver.name}`}>Change</Button>
          <Button look="quiet" onClick={() => setDialog('rotate')} aria-label={`New address for ${receiver.name}`}>New address</Button>
          <Button look="quiet" onClick={() => setDialog('delete')} aria-label={`Delete ${receiver.name}`}>Delete</Button>
        </span>
      }
    >
      <CopyableUrl label={`Address for ${receiver.name} (POST)`} url={receiver.url} />
      <dl className="mt-3 grid grid-cols-2 gap-x-4 gap-y-2 sm:grid-cols-4">
        <Fact name="Service of an alert">{receiver.serviceTemplate}</Fact>
        <Fact name="Services">{receiver.services} of at most {receiver.maxServices}</Fact>
        <Fact name="Ends when not repeated for">{duration(receiver.expireSeconds)}</Fact>
        <Fact name="Watchdog"><Watchdog receiver={receiver} /></Fact>
      </dl>
      {receiver.truncated > 0 && (
        <p className="mt-3 text-paused">
          The last message of a group left {receiver.truncated === 1 ? '1 alert' : `${receiver.truncated} alerts`} out (max_alerts): services may look better than they are.
        </p>
      )}
      <Firing receiver={receiver} />
      {dialog === 'change' && <ReceiverDialog receiver={receiver} onClose={close} />}
      {dialog === 'rotate' && (
        <ConfirmDialog
          title={`New address for ${receiver.name}?`} action="Replace" onClose={close} run={() => api.post(`/alertmanager/receivers/${receiver.id}/rotate-token`)}
          description="The present address stops working at once. Alertmanager drops what it cannot deliver until it has the new one."
        />
      )}
      {dialog === 'delete' && (
        <ConfirmDialog
          title={`Delete ${receiver.name}?`} action="Delete" onClose={close} run={() => api.delete(`/alertmanager/receivers/${receiver.id}`)}
          description="The services that were made for its alerts go with it, with their history. Your own services lose its monitor."
        />
      )}
    </Panel>
  );
}

/** Whether the alert that always fires still arrives. */
function Watchdog({ receiver: { watchdog, watchdogAlert, watchdogSeconds } }: { receiver: Receiver }) {
  if (watchdogAlert === '') return 'none';
  if (watchdog === null) return `${watchdogAlert} was not heard of yet`;
  return (
    <>
      <StateIndicator state={watchdog.serviceState === PAUSED ? PAUSED : watchdog.state} />{' '}
      <Link to="/services/$id" params={{ id: watchdog.serviceId }} className="link">
        heard {watchdog.lastHeardAt ? <Time at={watchdog.lastHeardAt} /> : 'never'}
      </Link>
      , at the latest every {duration(watchdogSeconds)}
    </>
  );
}

function Firing({ receiver }: { receiver: Receiver }) {
  const { data, error } = useQuery({ ...firingQuery(receiver.id), enabled: receiver.firing > 0 });
  if (receiver.firing === 0) return <p className="mt-3 text-soft">Nothing fires.</p>;
  return (
    <>
      <h3 className="mt-3 font-medium text-down">{receiver.firing === 1 ? '1 alert fires' : `${receiver.firing} alerts fire`}</h3>
      <ErrorNote error={error} />
      <ul aria-label={`Alerts that fire in ${receiver.name}`} className="max-h-80 overflow-auto" tabIndex={0}>
        {data?.map((alert) => (
          <li key={`${alert.fingerprint} ${alert.startsAt}`} className="flex flex-wrap gap-x-3 border-b border-line py-1.5 last:border-0">
            <SeverityBadge severity={alert.severity} />
            <Link to="/services/$id" params={{ id: alert.serviceId }} className="link min-w-0 break-words">{alert.serviceName}</Link>
            <span className="min-w-0 flex-1 basis-48 break-words">{alert.summary}</span>
            <span className="text-soft"><Time at={alert.startsAt} /></span>
          </li>
        ))}
      </ul>
      {data && data.length < receiver.firing && <p className="text-soft">The newest {data.length} are shown.</p>}
    </>
  );
}

interface ConfirmProps {
  title: string;
  description: string;
  action: string;
  run: () => Promise<unknown>;
  onClose: () => void;
}

function ConfirmDialog({ run, onClose, ...text }: ConfirmProps) {
  const client = useQueryClient();
  const mutation = useMutation({
    mutationFn: run,
    onSuccess: async () => {
      onClose();
      await client.invalidateQueries({ queryKey: ['receivers'] });
    },
  });
  return (
    <FormDialog {...text} danger open onClose={onClose} pending={mutation.isPending} error={mutation.error} onSubmit={() => mutation.mutate()}>{null}</FormDialog>
  );
}
