// A service in a list: state, what watches it, quick actions.
import { Link } from '@tanstack/react-router';
import { BellOff, Pause, Pencil, Play } from 'lucide-react';
import { useState } from 'react';
import type { Service } from '../api/types';
import { PAUSED, monitorTypeName } from '../lib/labels';
import { MuteDialog, PauseDialog, useServiceAction } from './ServiceDialogs';
import { SeverityBadge, StateIndicator } from './StateIndicator';
import { Badge, Button, ErrorNote, Time, buttonClass } from './ui/basic';

export function ServiceCard({ service }: { service: Service }) {
  return (
    <li className="panel flex flex-wrap items-center gap-x-4 gap-y-2">
      <span className="w-24"><StateIndicator state={service.state} /></span>
      <div className="min-w-40 flex-1">
        <Link to="/services/$id" params={{ id: service.id }} className="link font-semibold break-words">{service.name}</Link>
        {service.description && <p className="line-clamp-2 break-words text-soft">{service.description}</p>}
        <p className="mt-1 flex flex-wrap items-center gap-1.5 text-xs text-soft">
          <SeverityBadge severity={service.severity} />
          {[...new Set(service.monitors.map((monitor) => monitor.type))].map((type) => <Badge key={type}>{monitorTypeName(type)}</Badge>)}
          {service.managedBy && <Badge>by {service.managedBy}</Badge>}
          {service.pausedUntil && <span>until <Time at={service.pausedUntil} /></span>}
        </p>
      </div>
      <ServiceActions service={service} />
    </li>
  );
}

export function ServiceActions({ service }: { service: Service }) {
  const [dialog, setDialog] = useState<'pause' | 'mute' | null>(null);
  const resume = useServiceAction(service.id);
  const close = () => setDialog(null);
  return (
    <div className="flex flex-wrap gap-1">
      {service.state === PAUSED ? (
        <Button onClick={() => resume.mutate({ path: '/resume' })} disabled={resume.isPending} aria-label={`Resume ${service.name}`}>
          <Play aria-hidden size={16} /> Resume
        </Button>
      ) : (
        <Button onClick={() => setDialog('pause')} aria-label={`Pause ${service.name}`}><Pause aria-hidden size={16} /> Pause</Button>
      )}
      <Button onClick={() => setDialog('mute')} aria-label={`Mute ${service.name}`}><BellOff aria-hidden size={16} /> Mute</Button>
      <Link to="/services/$id/edit" params={{ id: service.id }} className={buttonClass()} aria-label={`Edit ${service.name}`}>
        <Pencil aria-hidden size={16} /> Edit
      </Link>
      <ErrorNote error={resume.error} />
      {dialog === 'pause' && <PauseDialog service={service} open onClose={close} />}
      {dialog === 'mute' && <MuteDialog service={service} open onClose={close} />}
    </div>
  );
}
