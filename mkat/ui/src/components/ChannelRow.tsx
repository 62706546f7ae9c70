// One channel of a contact: whether it works, switch, test with its result, change, remove.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Pencil, Send, Trash2 } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/client';
import type { Channel, Contact } from '../api/types';
import { channelSummary } from '../lib/channelForm';
import { channelTypeName } from '../lib/labels';
import { ChannelDialog } from './ChannelDialog';
import { Badge, Button, ErrorNote, Time, capital } from './ui/basic';
import { FormDialog } from './ui/dialog';
import { CheckField } from './ui/fields';

export function ChannelRow({ contact, channel }: { contact: Contact; channel: Channel }) {
  const [dialog, setDialog] = useState<'edit' | 'remove' | null>(null);
  /** What was just clicked, until the server's answer is read: a mutation's own state comes a tick late, and the box would flip back. */
  const [wanted, setWanted] = useState<boolean | null>(null);
  const client = useQueryClient();
  const path = `/contacts/${contact.id}/channels/${channel.id}`;
  const refresh = () => client.invalidateQueries({ queryKey: ['contacts'] });
  const test = useMutation({ mutationFn: () => api.post<{ success: boolean; message: string }>(`${path}/test`), onSettled: refresh });
  const enable = useMutation({
    mutationFn: (isEnabled: boolean) => api.put(path, { configuration: channel.configuration, isEnabled }),
    onSettled: async () => {
      await refresh();
      setWanted(null);
    },
  });
  const remove = useMutation({
    mutationFn: () => api.delete(path),
    onSuccess: async () => {
      setDialog(null);
      await refresh();
    },
  });
  const name = `${channelTypeName(channel.type)} ${channelSummary(channel.type, channel.configuration)}`.trim();

  return (
    <li className="border-t border-line py-3">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
        <span className="min-w-0 flex-1 basis-48 break-words font-medium">
          {name} {channel.isManaged && <Badge>from the environment</Badge>}
        </span>
        <CheckField
          label="Enabled" checked={wanted ?? channel.isEnabled}
          onChange={(on) => {
            setWanted(on);
            enable.mutate(on);
          }}
        />
        <Button onClick={() => test.mutate()} disabled={test.isPending} aria-label={`Send a test to ${name}`}><Send aria-hidden size={16} /> Test</Button>
        {!channel.isManaged && (
          <>
            <Button onClick={() => setDialog('edit')} aria-label={`Change ${name}`}><Pencil aria-hidden size={16} /></Button>
            <Button look="danger" onClick={() => setDialog('remove')} aria-label={`Remove ${name}`}><Trash2 aria-hidden size={16} /></Button>
          </>
        )}
      </div>
      <Health channel={channel} />
      <p role="status" className={test.data?.success ? 'text-up' : 'text-down'}>
        {test.isPending && 'Sending…'}
        {test.data && `${test.data.success ? 'Test:' : 'Test failed:'} ${test.data.message}.`}
      </p>
      <ErrorNote error={test.error ?? enable.error} />
      {dialog === 'edit' && <ChannelDialog contact={contact} channel={channel} onClose={() => setDialog(null)} />}
      {dialog === 'remove' && (
        <FormDialog
          title={`Remove ${name}?`} description="What it had not yet delivered goes to the other channels." action="Remove" danger open
          onClose={() => setDialog(null)} pending={remove.isPending} error={remove.error} onSubmit={() => remove.mutate()}
        >{null}</FormDialog>
      )}
    </li>
  );
}

function Health({ channel }: { channel: Channel }) {
  return (
    <p className="text-xs text-soft">
      {channel.disabledReason && <span className="block break-words text-down">Closed by the other side: {capital(channel.disabledReason)}.</span>}
      {channel.failingSince && (
        <span className="block break-words text-down">
          Failing since <Time at={channel.failingSince} />{channel.lastError && `: ${capital(channel.lastError)}`}.
        </span>
      )}
      {channel.lastSuccessAt && <span>Last delivered <Time at={channel.lastSuccessAt} /></span>}
    </p>
  );
}
