// Instances that watch each other.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { Plus } from 'lucide-react';
import { useState } from 'react';
import { ApiError, api } from '../api/client';
import { peersQuery } from '../api/queries';
import type { Peer } from '../api/types';
import { PairDialog } from '../components/PairDialog';
import { StateIndicator } from '../components/StateIndicator';
import { Badge, Button, Empty, ErrorNote, Loading, Panel, Time, capital } from '../components/ui/basic';
import { FormDialog } from '../components/ui/dialog';
import { duration } from '../lib/format';

export function PeersPage() {
  const [pairing, setPairing] = useState(false);
  const { data, error, isPending } = useQuery(peersQuery);
  const missing = error instanceof ApiError && error.isMissingEndpoint;
  return (
    <>
      <div className="mb-4 flex items-center justify-between gap-2">
        <h1>Peers</h1>
        <Button look="main" onClick={() => setPairing(true)} disabled={missing}><Plus aria-hidden size={16} /> Pair</Button>
      </div>
      <p className="mb-4 text-soft">Two instances watch each other: each tells when the other is gone, or cannot deliver its alerts.</p>
      {missing ? <Empty>This server does not pair with others.</Empty> : <ErrorNote error={error} />}
      {isPending && <Loading />}
      {data?.length === 0 && <Empty>There is no peer yet.</Empty>}
      <div className="flex flex-col gap-3">{data?.map((peer) => <PeerPanel key={peer.id} peer={peer} />)}</div>
      {pairing && <PairDialog onClose={() => setPairing(false)} />}
    </>
  );
}

function PeerPanel({ peer }: { peer: Peer }) {
  const [leaving, setLeaving] = useState(false);
  const client = useQueryClient();
  const unpair = useMutation({
    mutationFn: () => api.delete(`/peers/${peer.id}`),
    onSuccess: async () => {
      setLeaving(false);
      await client.invalidateQueries();
    },
  });
  return (
    <Panel
      title={<span className="flex flex-wrap items-center gap-3 break-words">{peer.name} <StateIndicator state={peer.serviceState ?? 0} /></span>}
      actions={<Button look="danger" onClick={() => setLeaving(true)} aria-label={`Unpair ${peer.name}`}>Unpair</Button>}
    >
      <p className="break-words">
        {peer.url} <Link to="/services/$id" params={{ id: peer.serviceId }} className="link">Its service here</Link>
      </p>
      <p className="text-soft">
        Heartbeats every {duration(peer.heartbeatIntervalSeconds)}: heard {peer.lastReceivedAt ? <Time at={peer.lastReceivedAt} /> : 'never'}, ours
        taken {peer.lastDeliveredAt ? <Time at={peer.lastDeliveredAt} /> : 'never'}. Paired <Time at={peer.pairedAt} />.{' '}
        {!peer.twoWay && <Badge tone="text-paused">One way only</Badge>}
      </p>
      {peer.forgotten && <p className="text-down">It no longer knows this instance: unpair, then pair again.</p>}
      {peer.reportedBroken && <p className="text-paused">It was told that notifications fail here.</p>}
      {peer.lastError && <p className="break-words text-down">{capital(peer.lastError)}.</p>}
      {leaving && (
        <FormDialog
          title={`Unpair ${peer.name}?`} description="The service that stands for it, its history and its alerts go, on both sides." action="Unpair" danger open
          onClose={() => setLeaving(false)} pending={unpair.isPending} error={unpair.error} onSubmit={() => unpair.mutate()}
        >{null}</FormDialog>
      )}
    </Panel>
  );
}
