// The nodes, and the way to drain the one that serves this page.

import { useState } from 'react';
import { api } from '../api/client';
import type { NodeRow } from '../api/types';
import { count, NONE, span } from '../format';
import { Confirm } from '../parts/confirm';
import { NodeBadge } from '../parts/states';
import { Button, Card, Table } from '../parts/ui';

function connections(node: NodeRow): string {
  return node.max_connections ? `${count(node.connections)} of ${count(node.max_connections)}` : count(node.connections);
}

export function Nodes({ nodes }: { nodes: NodeRow[] }) {
  const [draining, setDraining] = useState<NodeRow | null>(null);
  const here = nodes.find((node) => node.here && node.state === 'serving');
  const drain = here && (
    <Button look="danger" title="Another node is drained from its own console." onClick={() => setDraining(here)}>
      Drain {here.node}…
    </Button>
  );
  return (
    <Card title="Nodes" aside={drain}>
      <Table label="Nodes" head={['Node', 'State', 'Connections', 'Handshakes', 'Up', 'Version', 'Address']}>
        {nodes.map((node) => (
          <tr key={`${node.node} ${node.endpoint}`} data-node={node.node}>
            <th scope="row">
              {node.node}
              {node.here && <span className="text-dim font-normal"> (this page)</span>}
            </th>
            <td>
              <NodeBadge state={node.state} />
              {node.error && <span className="text-bad ml-2 text-xs">{node.error}</span>}
            </td>
            <td data-cell="connections">{connections(node)}</td>
            <td>{count(node.handshakes)}</td>
            <td>{span(node.age_ms)}</td>
            <td>{node.version ?? NONE}</td>
            <td>{node.endpoint || NONE}</td>
          </tr>
        ))}
      </Table>
      {draining && (
        <Confirm
          title={`Drain node ${draining.node}?`}
          action="Drain this node"
          run={api.drain}
          onDone={() => setDraining(null)}
          onClose={() => setDraining(null)}
        >
          <p>
            It takes no new connections, closes its {count(draining.connections)} sessions with 4200 (clients come back on other nodes)
            and hands over what it keeps.
          </p>
          <p>
            <strong>It can&apos;t be undone:</strong> the process stays, drained, until it is ended.
          </p>
        </Confirm>
      )}
    </Card>
  );
}
