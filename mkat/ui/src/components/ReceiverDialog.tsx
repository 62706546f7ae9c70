// A new Alertmanager receiver, or other settings for one.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api } from '../api/client';
import type { Receiver } from '../api/types';
import { detailsOf, fieldError } from '../lib/errors';
import { emptyReceiver, receiverFormOf, receiverInputOf } from '../lib/receiverForm';
import { FormDialog } from './ui/dialog';
import { CheckField, TextField } from './ui/fields';

export function ReceiverDialog({ receiver, onClose }: { receiver: Receiver | null; onClose: () => void }) {
  const [form, setForm] = useState(() => (receiver ? receiverFormOf(receiver) : emptyReceiver()));
  const set = (change: Partial<typeof form>) => setForm({ ...form, ...change });
  const client = useQueryClient();
  const save = useMutation({
    mutationFn: () => {
      const body = receiverInputOf(form);
      return receiver ? api.put(`/alertmanager/receivers/${receiver.id}`, body) : api.post('/alertmanager/receivers', body);
    },
    onSuccess: async () => {
      onClose();
      await client.invalidateQueries({ queryKey: ['receivers'] });
    },
  });
  const field = (label: string, key: 'name' | 'serviceTemplate' | 'maxServices' | 'expireSeconds' | 'watchdogAlert' | 'watchdogSeconds', hint?: string) => ({
    label, hint, value: form[key], onChange: (value: string) => set({ [key]: value }), error: fieldError(detailsOf(save.error), key),
  });
  return (
    <FormDialog
      title={receiver ? `Change ${receiver.name}` : 'New receiver'} action={receiver ? 'Save' : 'Create'} open onClose={onClose}
      pending={save.isPending} error={save.error} onSubmit={() => save.mutate()}
    >
      <TextField {...field('Name', 'name')} maxLength={80} />
      <TextField {...field('Service of an alert', 'serviceTemplate', 'A name with labels in it, such as gateway/{{tenant}}.')} spellCheck={false} />
      <TextField {...field('At most so many services', 'maxServices', 'All further alerts go to one more.')} inputMode="numeric" />
      <TextField {...field('An alert ends when not repeated for (seconds)', 'expireSeconds', 'More than twice the repeat_interval of Alertmanager.')} inputMode="numeric" />
      <TextField {...field('Watchdog alert', 'watchdogAlert', 'The alert that always fires: a sign of life. Empty for none.')} spellCheck={false} />
      <TextField {...field('Longest silence of the watchdog (seconds)', 'watchdogSeconds')} inputMode="numeric" />
      <TextField
        label="Bearer secret (optional)" type="password" autoComplete="off" spellCheck={false} value={form.bearer} disabled={form.dropBearer}
        hint={receiver?.hasBearer ? 'One is set; left empty, it stays.' : 'Senders must show it besides the address.'}
        onChange={(bearer) => set({ bearer })} error={fieldError(detailsOf(save.error), 'Bearer')}
      />
      {receiver?.hasBearer && <CheckField label="Ask for no bearer secret any more" checked={form.dropBearer} onChange={(dropBearer) => set({ dropBearer })} />}
    </FormDialog>
  );
}
