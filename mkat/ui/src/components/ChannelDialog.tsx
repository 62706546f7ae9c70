// Add a channel to a contact, or change one.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api } from '../api/client';
import type { Channel, ChannelType, Contact } from '../api/types';
import { channelFields, configurationOf, valuesOf, type ChannelField, type ChannelValues } from '../lib/channelForm';
import { detailsOf, fieldError } from '../lib/errors';
import { CHANNEL_TYPES } from '../lib/labels';
import { FormDialog } from './ui/dialog';
import { AreaField, CheckField, SelectField, TextField, numbered } from './ui/fields';

interface Props {
  contact: Contact;
  /** Null: a new one. */
  channel: Channel | null;
  onClose: () => void;
}

export function ChannelDialog({ contact, channel, onClose }: Props) {
  const [type, setType] = useState<ChannelType>(channel?.type ?? 0);
  const [values, setValues] = useState<ChannelValues>(() => (channel ? valuesOf(channel.configuration) : {}));
  const client = useQueryClient();
  const save = useMutation({
    mutationFn: () => {
      const configuration = configurationOf(type, values);
      const path = `/contacts/${contact.id}/channels`;
      if (channel) return api.put(`${path}/${channel.id}`, { configuration, isEnabled: channel.isEnabled });
      return api.post(path, { type, configuration });
    },
    onSuccess: async () => {
      onClose();
      await client.invalidateQueries({ queryKey: ['contacts'] });
    },
  });
  const complaint = fieldError(detailsOf(save.error), 'Configuration') ?? fieldError(detailsOf(save.error), 'Type');
  return (
    <FormDialog
      title={channel ? `Change channel of ${contact.name}` : `New channel for ${contact.name}`} open onClose={onClose}
      description={channel ? 'Secrets are shown as ********; left so, they stay.' : undefined}
      action={channel ? 'Save' : 'Add'} pending={save.isPending} error={complaint ?? save.error} onSubmit={() => save.mutate()}
    >
      <SelectField label="Type" options={numbered(CHANNEL_TYPES)} value={String(type)} disabled={channel !== null} onChange={(value) => setType(Number(value) as ChannelType)} />
      {channelFields(type).map((field) => (
        <Input
          key={`${type}-${field.name}`} field={field} value={values[field.name] ?? ''}
          error={mentioned(complaint, field.name)} onChange={(value) => setValues({ ...values, [field.name]: value })}
        />
      ))}
    </FormDialog>
  );
}

/** The server speaks of fields by name: those parts of the complaint that begin with this one's. */
export function mentioned(complaint: string | undefined, name: string): string | undefined {
  const parts = (complaint ?? '').split('; ').filter((part) => part.split(/[\s.]/)[0]?.toLowerCase() === name.toLowerCase());
  return parts.length > 0 ? parts.join('; ') : undefined;
}

const TLS = [['', 'STARTTLS (default)'], ['starttls', 'STARTTLS'], ['tls', 'TLS'], ['none', 'None']] as const;

function Input({ field, value, error, onChange }: { field: ChannelField; value: string; error?: string; onChange: (value: string) => void }) {
  const label = field.needed ? field.label : `${field.label} (optional)`;
  const common = { label, hint: field.hint, value, error, onChange };
  switch (field.kind) {
    case 'flag':
      return <CheckField label={field.label} checked={value === 'true'} onChange={(on) => onChange(String(on))} />;
    case 'tls':
      return <SelectField {...common} options={TLS} />;
    case 'lines':
    case 'headers':
      return <AreaField {...common} spellCheck={false} />;
    case 'number':
      return <TextField {...common} inputMode="numeric" />;
    case 'secret':
      return <TextField {...common} type="password" autoComplete="off" spellCheck={false} />;
    default:
      return <TextField {...common} autoComplete="off" />;
  }
}
