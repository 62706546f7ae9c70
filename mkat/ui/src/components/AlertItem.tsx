// One alert: what, where, when; acknowledge, mute, and what became of it by channel.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { BellOff, Check, Truck } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/client';
import { deliveriesQuery } from '../api/queries';
import type { Alert, Delivery } from '../api/types';
import { RECOVERY, alertTypeName, channelTypeName } from '../lib/labels';
import { MuteDialog } from './ServiceDialogs';
import { SeverityBadge } from './StateIndicator';
import { Badge, Button, Empty, ErrorNote, Loading, Time } from './ui/basic';

export function AlertItem({ alert, withService = true }: { alert: Alert; withService?: boolean }) {
  const [muting, setMuting] = useState(false);
  const [ledger, setLedger] = useState(false);
  const client = useQueryClient();
  const acknowledge = useMutation({
    mutationFn: () => api.post(`/alerts/${alert.id}/ack`),
    onSettled: () => client.invalidateQueries({ queryKey: ['alerts'] }),
  });
  const recovery = alert.type === RECOVERY;
  return (
    <li className="border-b border-line py-3 last:border-0">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <span className={recovery ? 'font-semibold text-up' : 'font-semibold text-down'}>{alertTypeName(alert.type)}</span>
        {withService && (
          <Link to="/services/$id" params={{ id: alert.serviceId }} className="link min-w-0 break-words font-medium">{alert.serviceName}</Link>
        )}
        <SeverityBadge severity={alert.severity} />
        {alert.muted && <Badge>Muted: nobody was told</Badge>}
        <span className="text-soft"><Time at={alert.createdAt} /></span>
      </div>
      <p className="mt-1 break-words">{alert.message}</p>
      <div className="mt-2 flex flex-wrap items-center gap-2">
        {alert.acknowledgedAt ? (
          <span className="text-soft">Acknowledged{alert.acknowledgedBy && ` by ${alert.acknowledgedBy}`} <Time at={alert.acknowledgedAt} /></span>
        ) : (
          !recovery && (
            <Button onClick={() => acknowledge.mutate()} disabled={acknowledge.isPending} aria-label={`Acknowledge alert of ${alert.serviceName}`}>
              <Check aria-hidden size={16} /> Acknowledge
            </Button>
          )
        )}
        <Button look="quiet" onClick={() => setMuting(true)} aria-label={`Mute ${alert.serviceName}`}><BellOff aria-hidden size={16} /> Mute</Button>
        <Button look="quiet" aria-expanded={ledger} onClick={() => setLedger(!ledger)} aria-label={`Deliveries of alert of ${alert.serviceName}`}>
          <Truck aria-hidden size={16} /> Deliveries
        </Button>
      </div>
      <ErrorNote error={acknowledge.error} />
      {ledger && <Ledger alert={alert} />}
      <MuteDialog service={{ id: alert.serviceId, name: alert.serviceName }} open={muting} onClose={() => setMuting(false)} />
    </li>
  );
}

function Ledger({ alert }: { alert: Alert }) {
  const { data, error, isPending } = useQuery(deliveriesQuery(alert.id));
  if (isPending) return <Loading />;
  if (error) return <ErrorNote error={error} />;
  if (data.length === 0) return <Empty>{alert.muted ? 'The service was muted.' : 'No channel was there to tell anybody.'}</Empty>;
  return (
    <ul className="mt-2 rounded-md border border-line px-3" aria-label="Deliveries">
      {data.map((delivery) => <DeliveryLine key={delivery.id} delivery={delivery} />)}
    </ul>
  );
}

const STATUS: Record<Delivery['status'], [text: string, tone: string]> = {
  pending: ['Waiting', 'text-paused'],
  sending: ['Being sent', 'text-paused'],
  sent: ['Delivered', 'text-up'],
  dead: ['Given up', 'text-down'],
  cancelled: ['Cancelled', 'text-soft'],
};

function DeliveryLine({ delivery }: { delivery: Delivery }) {
  const [text, tone] = STATUS[delivery.status];
  const where = delivery.channelType === null ? 'removed channel' : channelTypeName(delivery.channelType);
  return (
    <li className="flex flex-wrap gap-x-3 border-b border-line py-2 last:border-0">
      <span className={`font-medium ${tone}`}>{text}</span>
      <span>{where}{delivery.contactName && ` of ${delivery.contactName}`}</span>
      <span className="text-soft">
        {delivery.sentAt && delivery.latencyMs !== null && <>after {delivery.latencyMs} ms, <Time at={delivery.sentAt} /></>}
        {delivery.status === 'pending' && delivery.nextAttemptAt && <>next try <Time at={delivery.nextAttemptAt} /></>}
        {delivery.attempts > 1 && `, ${delivery.attempts} tries`}
      </span>
      {delivery.possiblyRepeated && <Badge tone="text-paused">Possibly repeated</Badge>}
      {delivery.lastError && delivery.status !== 'sent' && <span className="w-full break-words text-down">{delivery.lastError}</span>}
    </li>
  );
}
