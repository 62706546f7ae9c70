// This browser's settings, the session, and whether the server is well.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api } from '../api/client';
import { sessionQuery } from '../api/queries';
import type { Ready } from '../api/types';
import { Button, ErrorNote, Panel } from '../components/ui/basic';
import { SelectField } from '../components/ui/fields';
import { base } from '../lib/base';
import { instant } from '../lib/format';
import { rememberSignedIn } from '../lib/session';
import { setTheme, storedTheme, type Theme } from '../lib/theme';

const THEMES = [['system', 'As the system says'], ['light', 'Light'], ['dark', 'Dark']] as const;

export function SettingsPage() {
  const [theme, choose] = useState(storedTheme);
  return (
    <div className="mx-auto flex max-w-2xl flex-col gap-4">
      <h1>Settings</h1>
      <Panel title="Appearance">
        <SelectField
          label="Colours" options={THEMES} value={theme} hint="Kept in this browser."
          onChange={(value) => { setTheme(value as Theme); choose(value as Theme); }}
        />
      </Panel>
      <SessionPanel />
      <ServerPanel />
    </div>
  );
}

function SessionPanel() {
  const { data } = useQuery(sessionQuery);
  const client = useQueryClient();
  const navigate = useNavigate();
  const signOut = useMutation({
    mutationFn: () => api.delete('/session'),
    onSuccess: async () => {
      rememberSignedIn(false);
      await navigate({ to: '/login' });
      client.clear();
    },
  });
  return (
    <Panel title="Session" actions={<Button onClick={() => signOut.mutate()} disabled={signOut.isPending}>Sign out</Button>}>
      {data && <p>Signed in as <strong>{data.username}</strong>{data.expiresAt && `, until ${instant(data.expiresAt)}`}.</p>}
      <ErrorNote error={signOut.error} />
    </Panel>
  );
}

/** Unready is an answer here, not an error. */
async function readiness(signal: AbortSignal): Promise<Ready> {
  const response = await fetch(`${base}/health/ready`, { signal });
  return (await response.json()) as Ready;
}

function ServerPanel() {
  const { data, error } = useQuery({ queryKey: ['ready'], queryFn: ({ signal }) => readiness(signal), refetchInterval: 10_000 });
  const dead = data?.workers?.filter((worker) => !worker.alive) ?? [];
  return (
    <Panel title="Server">
      <ErrorNote error={error} />
      {data && (
        <p>
          {data.status === 'ready' ? <span className="font-semibold text-up">Ready</span> : <span className="font-semibold text-down">Not ready</span>}
          {`: the database ${data.database ? 'answers' : 'does not answer'}, ${data.workers.length - dead.length} of ${data.workers.length} workers run`}
          {dead.length > 0 && ` (not: ${dead.map((worker) => worker.name).join(', ')})`}.
        </p>
      )}
      <p className="mt-2"><a className="link" href={`${base}/api/v1/openapi.json`}>Description of the API</a></p>
    </Panel>
  );
}
