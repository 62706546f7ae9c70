// Who is told, and through which channels.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Plus } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/client';
import { contactsQuery } from '../api/queries';
import type { Contact } from '../api/types';
import { ChannelDialog } from '../components/ChannelDialog';
import { ChannelRow } from '../components/ChannelRow';
import { Badge, Button, Empty, ErrorNote, Loading, Panel } from '../components/ui/basic';
import { FormDialog } from '../components/ui/dialog';
import { TextField } from '../components/ui/fields';
import { detailsOf, fieldError } from '../lib/errors';

export function ContactsPage() {
  const [creating, setCreating] = useState(false);
  const { data, error, isPending } = useQuery(contactsQuery);
  return (
    <>
      <div className="mb-4 flex items-center justify-between gap-2">
        <h1>Contacts</h1>
        <Button look="main" onClick={() => setCreating(true)}><Plus aria-hidden size={16} /> New contact</Button>
      </div>
      <p className="mb-4 text-soft">A service tells its contacts through all their enabled channels; a service without contacts tells the default contact.</p>
      <ErrorNote error={error} />
      {isPending && <Loading />}
      {data?.length === 0 && <Empty>There is no contact yet.</Empty>}
      <div className="flex flex-col gap-4">{data?.map((contact) => <ContactPanel key={contact.id} contact={contact} />)}</div>
      {creating && <NameDialog contact={null} onClose={() => setCreating(false)} />}
    </>
  );
}

function ContactPanel({ contact }: { contact: Contact }) {
  const [dialog, setDialog] = useState<'rename' | 'delete' | 'channel' | null>(null);
  const close = () => setDialog(null);
  return (
    <Panel
      title={<span className="break-words">{contact.name} {contact.isDefault && <Badge>Default</Badge>}</span>}
      actions={
        <span className="flex flex-wrap gap-1">
          <Button onClick={() => setDialog('channel')} aria-label={`Add a channel to ${contact.name}`}><Plus aria-hidden size={16} /> Channel</Button>
          <Button look="quiet" onClick={() => setDialog('rename')} aria-label={`Rename ${contact.name}`}>Rename</Button>
          {!contact.isDefault && <Button look="quiet" onClick={() => setDialog('delete')} aria-label={`Delete ${contact.name}`}>Delete</Button>}
        </span>
      }
    >
      <p className="mb-2 text-soft">{contact.serviceCount === 1 ? 'Chosen for 1 service' : `Chosen for ${contact.serviceCount} services`}</p>
      {contact.channels.length === 0 && <p className="text-paused">Without a channel nobody is reached.</p>}
      <ul>{contact.channels.map((channel) => <ChannelRow key={channel.id} contact={contact} channel={channel} />)}</ul>
      {dialog === 'channel' && <ChannelDialog contact={contact} channel={null} onClose={close} />}
      {dialog === 'rename' && <NameDialog contact={contact} onClose={close} />}
      {dialog === 'delete' && <DeleteDialog contact={contact} onClose={close} />}
    </Panel>
  );
}

/** A new contact, or another name for one. */
function NameDialog({ contact, onClose }: { contact: Contact | null; onClose: () => void }) {
  const [name, setName] = useState(contact?.name ?? '');
  const client = useQueryClient();
  const save = useMutation({
    mutationFn: () => (contact ? api.put(`/contacts/${contact.id}`, { name }) : api.post('/contacts', { name })),
    onSuccess: async () => {
      onClose();
      await client.invalidateQueries({ queryKey: ['contacts'] });
    },
  });
  return (
    <FormDialog
      title={contact ? `Rename ${contact.name}` : 'New contact'} action={contact ? 'Rename' : 'Create'} open onClose={onClose}
      pending={save.isPending} error={save.error} onSubmit={() => save.mutate()}
    >
      <TextField label="Name" value={name} onChange={setName} error={fieldError(detailsOf(save.error), 'Name')} />
    </FormDialog>
  );
}

function DeleteDialog({ contact, onClose }: { contact: Contact; onClose: () => void }) {
  const client = useQueryClient();
  const remove = useMutation({
    mutationFn: () => api.delete(`/contacts/${contact.id}`),
    onSuccess: async () => {
      onClose();
      await client.invalidateQueries({ queryKey: ['contacts'] });
    },
  });
  return (
    <FormDialog
      title={`Delete ${contact.name}?`} description="Its channels go with it." action="Delete" danger open onClose={onClose}
      pending={remove.isPending} error={remove.error} onSubmit={() => remove.mutate()}
    >{null}</FormDialog>
  );
}
