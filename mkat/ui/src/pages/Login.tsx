// Sign-in: name and password against a cookie that scripts cannot read.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useRouter, useSearch } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { api } from '../api/client';
import { sessionQuery } from '../api/queries';
import type { Session } from '../api/types';
import { Button, ErrorNote } from '../components/ui/basic';
import { TextField } from '../components/ui/fields';
import { base } from '../lib/base';
import { detailsOf, fieldError } from '../lib/errors';
import { nextPlace } from '../lib/search';
import { rememberSignedIn } from '../lib/session';

export function LoginPage() {
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const client = useQueryClient();
  const router = useRouter();
  const { next } = useSearch({ from: '/login' });
  const signIn = useMutation({
    mutationFn: () => api.post<Session>('/session', { username, password }),
    onSuccess: (session) => {
      client.clear();
      client.setQueryData(sessionQuery.queryKey, session);
      rememberSignedIn(true);
      router.history.push(`${base}${nextPlace(next)}`);
    },
  });
  const details = detailsOf(signIn.error);

  function submit(event: FormEvent): void {
    event.preventDefault();
    signIn.mutate();
  }

  return (
    <main className="mx-auto max-w-sm px-3 py-16">
      <h1 className="mb-4">Sign in to mkat</h1>
      <form onSubmit={submit} className="panel flex flex-col gap-4" noValidate>
        <TextField label="Name" autoComplete="username" autoFocus value={username} onChange={setUsername} error={fieldError(details, 'Username')} />
        <TextField label="Password" type="password" autoComplete="current-password" value={password} onChange={setPassword} error={fieldError(details, 'Password')} />
        <ErrorNote error={signIn.error} />
        <Button type="submit" look="main" disabled={signIn.isPending}>Sign in</Button>
      </form>
    </main>
  );
}
