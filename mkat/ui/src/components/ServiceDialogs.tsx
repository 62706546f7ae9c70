// Pause and mute: how long, and why.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api } from '../api/client';
import { detailsOf, fieldError } from '../lib/errors';
import { fromLocalInput, toLocalInput } from '../lib/format';
import { CheckField, SelectField, TextField } from './ui/fields';
import { FormDialog } from './ui/dialog';

interface Props {
  service: { id: string; name: string };
  open: boolean;
  onClose: () => void;
}

/** Changes a service, then reads again whatever shows it. */
export function useServiceAction(id: string, onDone?: () => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (action: { path: string; body?: unknown; method?: 'post' | 'delete' }) =>
      action.method === 'delete' ? api.delete(`/services/${id}${action.path}`) : api.post(`/services/${id}${action.path}`, action.body),
    onSuccess: async () => {
      onDone?.();
      await Promise.all([['service', id], ['services'], ['summary'], ['alerts']].map((queryKey) => client.invalidateQueries({ queryKey })));
    },
  });
}

export function PauseDialog({ service, open, onClose }: Props) {
  const [timed, setTimed] = useState(false);
  const [until, setUntil] = useState(() => toLocalInput(new Date(Date.now() + 3_600_000)));
  const [autoResume, setAutoResume] = useState(true);
  const action = useServiceAction(service.id, onClose);
  const end = timed ? fromLocalInput(until) : null;
  const bad = timed && end === null ? 'give a date and a time' : undefined;

  return (
    <FormDialog
      title={`Pause ${service.name}`}
      description="Signals are still recorded, but the state stays Paused and nobody is told anything."
      action="Pause" open={open} onClose={onClose} pending={action.isPending} error={action.error}
      onSubmit={() => !bad && action.mutate({ path: '/pause', body: { until: end, autoResume: timed && autoResume } })}
    >
      <CheckField label="Set an end" checked={timed} onChange={setTimed} />
      {timed && (
        <>
          <TextField label="Until" type="datetime-local" value={until} onChange={setUntil} error={bad ?? fieldError(detailsOf(action.error), 'Until')} />
          <CheckField label="Resume by itself then" checked={autoResume} onChange={setAutoResume} />
        </>
      )}
    </FormDialog>
  );
}

const MUTES = [['15', '15 minutes'], ['60', '1 hour'], ['1440', '24 hours'], ['other', 'Another time']] as const;

export function MuteDialog({ service, open, onClose }: Props) {
  const [choice, setChoice] = useState('60');
  const [minutes, setMinutes] = useState('120');
  const [reason, setReason] = useState('');
  const action = useServiceAction(service.id, onClose);
  const details = detailsOf(action.error);
  const given = choice === 'other' ? minutes.trim() : choice;
  const durationMinutes = given !== '' && Number.isFinite(Number(given)) ? Number(given) : given;

  return (
    <FormDialog
      title={`Mute ${service.name}`}
      description="The state is still watched and shown, but nobody is told. What is still down at the end is told then."
      action="Mute" open={open} onClose={onClose} pending={action.isPending} error={action.error}
      onSubmit={() => action.mutate({ path: '/mute', body: { durationMinutes, reason: reason.trim() || null } })}
    >
      <SelectField label="For" value={choice} onChange={setChoice} options={MUTES} error={choice === 'other' ? undefined : fieldError(details, 'DurationMinutes')} />
      {choice === 'other' && (
        <TextField label="Minutes" inputMode="numeric" value={minutes} onChange={setMinutes} error={fieldError(details, 'DurationMinutes')} />
      )}
      <TextField label="Reason (optional)" value={reason} onChange={setReason} error={fieldError(details, 'Reason')} />
    </FormDialog>
  );
}
