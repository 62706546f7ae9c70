// Asks for the token when the API wants one.

import { useState, type FormEvent } from 'react';
import { token, usable } from '../api/token';
import { Alert, Button, Card, Field } from '../parts/ui';

/** `refusal`: what the API said to the token that was shown, if one was. */
export function TokenForm({ refusal, onToken }: { refusal: string; onToken: () => void }) {
  const [value, setValue] = useState('');
  const [problem, setProblem] = useState(token.get() ? refusal : '');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const given = value.trim();
    if (!usable(given)) return setProblem('A token is printable ASCII, without line ends.');
    token.set(given);
    onToken();
  };
  return (
    <main className="mx-auto mt-10 max-w-md p-3">
      <Card title="Sign in">
        <form onSubmit={submit} className="space-y-3">
          <p className="text-dim">
            This node asks for the operator&apos;s token (<code>ADMIN_TOKEN</code>). It is kept in this tab only, until the tab is closed.
          </p>
          <Field label="Token" type="password" value={value} required autoFocus onChange={(event) => setValue(event.target.value)} />
          {problem && <Alert>{problem}</Alert>}
          <Button look="primary" type="submit">
            Show the cluster
          </Button>
        </form>
      </Card>
    </main>
  );
}
