// Pairing with another instance: make a token here, or enter the one made there.
import { Tabs } from '@base-ui/react/tabs';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import { ApiError, api } from '../api/client';
import { detailsOf, fieldError } from '../lib/errors';
import { CopyableUrl } from './CopyableUrl';
import { Button, ErrorNote } from './ui/basic';
import { Dialog } from './ui/dialog';
import { AreaField, TextField } from './ui/fields';

const TAB = 'rounded-md px-3 py-1.5 font-medium hover:bg-hover data-[active]:bg-hover data-[active]:underline';

export function PairDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Pair with another instance" description="Both will watch each other, and tell when the other cannot notify." open onClose={onClose}>
      <Tabs.Root defaultValue="make">
        <Tabs.List className="mb-4 flex gap-1 border-b border-line pb-2">
          <Tabs.Tab value="make" className={TAB}>Make a token</Tabs.Tab>
          <Tabs.Tab value="enter" className={TAB}>Enter a token</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="make"><MakeToken onClose={onClose} /></Tabs.Panel>
        <Tabs.Panel value="enter"><EnterToken onClose={onClose} /></Tabs.Panel>
      </Tabs.Root>
    </Dialog>
  );
}

function submitting(action: () => void) {
  return (event: FormEvent) => {
    event.preventDefault();
    action();
  };
}

function MakeToken({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState('');
  const initiate = useMutation({ mutationFn: () => api.post<{ token: string }>('/peers/pair/initiate', { name }) });
  return (
    <form onSubmit={submitting(() => initiate.mutate())} className="flex flex-col gap-4" noValidate>
      <TextField label="Name of this instance" hint="Shown at the other one." value={name} onChange={setName} error={fieldError(detailsOf(initiate.error), 'Name')} />
      <ErrorNote error={initiate.error} />
      {initiate.data && (
        <>
          <CopyableUrl label="Pairing token" url={initiate.data.token} />
          <p className="text-soft">Enter it at the other instance within 10 minutes. It works once.</p>
        </>
      )}
      <div className="flex justify-end gap-2">
        <Button onClick={onClose}>Close</Button>
        <Button type="submit" look="main" disabled={initiate.isPending}>Make a token</Button>
      </div>
    </form>
  );
}

function EnterToken({ onClose }: { onClose: () => void }) {
  const [token, setToken] = useState('');
  const client = useQueryClient();
  const complete = useMutation({
    mutationFn: (replace: boolean) => api.post('/peers/pair/complete', { token: token.trim(), replace }),
    onSuccess: async () => {
      onClose();
      await client.invalidateQueries();
    },
  });
  const exists = complete.error instanceof ApiError && complete.error.code === 'PEER_EXISTS';
  return (
    <form onSubmit={submitting(() => complete.mutate(exists))} className="flex flex-col gap-4" noValidate>
      <AreaField label="Token of the other instance" spellCheck={false} value={token} onChange={(text) => { setToken(text); complete.reset(); }} error={fieldError(detailsOf(complete.error), 'Token')} />
      <ErrorNote error={complete.error} />
      <div className="flex justify-end gap-2">
        <Button onClick={onClose}>Cancel</Button>
        <Button type="submit" look="main" disabled={complete.isPending}>{exists ? 'Replace the peer' : 'Pair'}</Button>
      </div>
    </form>
  );
}
