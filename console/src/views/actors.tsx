// The actor tree of the node that serves this page, with what waits in the mailboxes.

import { treeOf, type Branch, type Kind } from '../actors';
import type { Overview } from '../api/types';
import { count, plural } from '../format';
import { Bar, Card } from '../parts/ui';

function Leaf({ kind }: { kind: Kind }) {
  const faults = [
    kind.refused > 0 && `${count(kind.refused)} refused`,
    kind.restarts > 0 && plural(kind.restarts, 'restart'),
  ].filter(Boolean);
  return (
    <li className="border-line flex flex-wrap items-center gap-x-3 gap-y-0.5 border-l py-0.5 pl-3 tabular-nums" data-actor={kind.kind}>
      <span className="min-w-40 font-medium">
        {kind.kind}
        {kind.actors > 1 && <span className="text-dim font-normal"> × {kind.actors}</span>}
      </span>
      <Bar share={kind.fullest} />
      <span className="sm:min-w-36">
        <span data-cell="depth">{count(kind.depth)}</span> of {count(kind.capacity)} wait
      </span>
      <span className="text-dim">{count(kind.handled)} handled</span>
      {faults.length > 0 && <span className="text-bad">{faults.join(', ')}</span>}
    </li>
  );
}

function Limb({ branch, node }: { branch: Branch; node: string }) {
  const depth = branch.kinds.reduce((sum, kind) => sum + kind.depth, 0);
  return (
    <li data-branch={branch.tenant}>
      <details open>
        <summary className="cursor-pointer py-1">
          <span className="font-semibold">{branch.tenant ? `tenant ${branch.tenant}` : `node ${node}`}</span>{' '}
          <span className="text-dim">{count(depth)} wait</span>
        </summary>
        <ul className="ml-1.5">
          {branch.kinds.map((kind) => (
            <Leaf key={kind.kind} kind={kind} />
          ))}
        </ul>
      </details>
    </li>
  );
}

export function Actors({ overview }: { overview: Overview }) {
  return (
    <Card title="Actors" aside={`of ${overview.node}; bars: the fullest mailbox`}>
      <ul>
        {treeOf(overview.actors).map((branch) => (
          <Limb key={branch.tenant} branch={branch} node={overview.node} />
        ))}
      </ul>
    </Card>
  );
}
