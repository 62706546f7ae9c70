// Presence of a user with all devices, and kicking.

import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type FormEvent } from 'react';
import { api } from '../api/client';
import type { Kicked, Presence } from '../api/types';
import { count, plural, span } from '../format';
import { Confirm } from '../parts/confirm';
import { Alert, Badge, Button, Field, Table } from '../parts/ui';
import { placeOf } from '../place';

const EVERY_MS = 3000;

/** Whom to kick; no device: all of them. */
interface Target {
  device?: string;
}

function Devices({ presence, onKick }: { presence: Presence; onKick: (target: Target) => void }) {
  const now = Date.now();
  return (
    <>
      <p className="my-2 flex flex-wrap items-center gap-2">
        <Badge tone={presence.online ? 'good' : 'dim'} data-presence={presence.online ? 'online' : 'offline'}>
          {presence.online ? 'online' : 'offline'}
        </Badge>
        <span className="break-words">
          {presence.user}: {plural(presence.connections, 'connection')}
        </span>
        {presence.online && (
          <Button look="danger" onClick={() => onKick({})}>
            Kick all…
          </Button>
        )}
      </p>
      {!presence.complete && <Alert>Redis does not answer: only this node&apos;s connections are known.</Alert>}
      {presence.devices.length > 0 && (
        <Table label="Devices" head={['Device', 'Action', 'Node', 'Online for', 'Connection']}>
          {presence.devices.map((row) => (
            <tr key={row.connection} data-device={row.device}>
              <th scope="row">{row.device}</th>
              <td>
                <Button look="danger" aria-label={`Kick device ${row.device}…`} onClick={() => onKick({ device: row.device })}>
                  Kick…
                </Button>
              </td>
              <td>{row.node}</td>
              <td>{span(now - row.online_at_ms)}</td>
              <td className="font-mono text-xs">{row.connection}</td>
            </tr>
          ))}
        </Table>
      )}
      {presence.devices.length < presence.connections && <p className="text-dim">The first {count(presence.devices.length)} are listed.</p>}
    </>
  );
}

/** What a kick did, in a sentence. */
export function outcome(kicked: Kicked): string {
  const closed = `${plural(kicked.closed, 'connection')} closed.`;
  if (kicked.complete) return closed;
  const silent = kicked.nodes.filter((node) => node.error).map((node) => node.node);
  return `${closed} ${silent.join(', ')} did not answer and may have more: try again.`;
}

function Found({ tenant, user }: { tenant: string; user: string }) {
  const [target, setTarget] = useState<Target | null>(null);
  const [done, setDone] = useState<Kicked | null>(null);
  const queries = useQueryClient();
  const queryKey = ['presence', tenant, user];
  const { data, error } = useQuery({ queryKey, queryFn: ({ signal }) => api.presence(tenant, user, signal), refetchInterval: EVERY_MS });
  const kicked = (result: Kicked) => {
    setTarget(null);
    setDone(result);
    void queries.invalidateQueries({ queryKey });
  };
  return (
    <div data-user={user}>
      {error && <Alert>{error.message}</Alert>}
      {data && <Devices presence={data} onKick={setTarget} />}
      <p role="status" data-kicked={done?.closed} className={done?.complete === false ? 'text-bad' : 'text-good'}>
        {done && outcome(done)}
      </p>
      {target && (
        <Confirm
          title={target.device === undefined ? `Kick ${user} from all devices?` : `Kick device ${target.device} of ${user}?`}
          action={target.device === undefined ? 'Kick all' : 'Kick the device'}
          run={() => api.kick(tenant, user, target.device)}
          onDone={kicked}
          onClose={() => setTarget(null)}
        >
          <p>
            Closes with 4410 what is connected now. Clients do not come back by themselves, but only the tenant&apos;s <code>/auth</code> keeps
            one from connecting again.
          </p>
        </Confirm>
      )}
    </div>
  );
}

export function User({ tenant, user }: { tenant: string; user: string | null }) {
  const [id, setId] = useState(user ?? '');
  const look = (event: FormEvent) => {
    event.preventDefault();
    window.location.hash = placeOf(tenant, id);
  };
  return (
    <>
      <h3 className="mt-4 mb-1 font-semibold">Presence of a user</h3>
      <form onSubmit={look} className="flex items-end gap-2">
        <Field label="User id" value={id} required onChange={(event) => setId(event.target.value)} />
        <Button type="submit">Look up</Button>
      </form>
      {user !== null && <Found tenant={tenant} user={user} />}
    </>
  );
}
