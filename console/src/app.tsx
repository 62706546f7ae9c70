// The page: who may see it, whether it is live, and its parts.

import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useLive, type Live, type LiveState } from './api/live';
import { token } from './api/token';
import { Alert, Badge, Button, type Tone } from './parts/ui';
import { usePlace } from './place';
import { Actors } from './views/actors';
import { Figures } from './views/figures';
import { Nodes } from './views/nodes';
import { TenantPanel } from './views/tenant';
import { Tenants } from './views/tenants';
import { TokenForm } from './views/token-form';

const LIVE: Record<LiveState, [Tone, string]> = {
  connecting: ['warn', 'connecting'],
  live: ['good', 'live'],
  lost: ['bad', 'not live'],
  unauthorized: ['bad', 'signed out'],
};

function Header({ live, onSignOut }: { live: Live; onSignOut: () => void }) {
  const [tone, word] = LIVE[live.state];
  return (
    <header className="mb-3 flex flex-wrap items-center justify-between gap-2">
      <h1 className="text-lg font-semibold">
        MICS console {live.overview && <span className="text-dim text-sm font-normal">on {live.overview.node}</span>}
      </h1>
      <div className="flex items-center gap-2">
        <Badge tone={tone} role="status" data-live={live.state}>
          {word}
        </Badge>
        {token.get() && <Button onClick={onSignOut}>Sign out</Button>}
      </div>
    </header>
  );
}

function Cluster({ live }: { live: Live }) {
  const { tenant, user } = usePlace();
  const { overview } = live;
  return (
    <main className="grid grid-cols-1 gap-3">
      {live.state === 'lost' && (
        <Alert>
          {live.problem} {overview && 'The figures are old.'} Trying again.
        </Alert>
      )}
      {!overview && live.state !== 'lost' && <p className="text-dim">Asking the nodes…</p>}
      {overview && (
        <>
          <Figures overview={overview} history={live.history} />
          <Nodes nodes={overview.nodes} />
          <Tenants overview={overview} chosen={tenant} />
          {tenant !== null && (
            <TenantPanel key={tenant} tenant={tenant} user={user} row={overview.tenants.find((row) => row.tenant === tenant)} />
          )}
          <Actors overview={overview} />
        </>
      )}
    </main>
  );
}

export function App() {
  const [attempt, setAttempt] = useState(0);
  const queries = useQueryClient();
  const live = useLive(attempt);
  const again = () => {
    queries.clear();
    setAttempt((attempt) => attempt + 1);
  };
  const signOut = () => {
    token.clear();
    again();
  };
  if (live.state === 'unauthorized') return <TokenForm refusal={live.problem} onToken={again} />;
  return (
    <div className="mx-auto max-w-7xl p-3">
      <Header live={live} onSignOut={signOut} />
      <Cluster live={live} />
    </div>
  );
}
