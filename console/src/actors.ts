// The actor tree of a node: its own actors, then those of each tenant.

import type { Actor } from './api/types';

export interface Branch {
  /** Empty: the node's own. */
  tenant: string;
  kinds: Kind[];
}

/** All actors of one kind in a branch (a pool has several): sums, and the fullest mailbox. */
export interface Kind {
  kind: string;
  actors: number;
  depth: number;
  capacity: number;
  /** Depth over capacity of the fullest mailbox, 0 to 1. */
  fullest: number;
  handled: number;
  refused: number;
  restarts: number;
}

export function treeOf(actors: Actor[]): Branch[] {
  return [...grouped(actors, 'tenant')]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([tenant, own]) => ({ tenant, kinds: [...grouped(own, 'kind').values()].map(kindOf) }));
}

function grouped(actors: Actor[], by: 'tenant' | 'kind'): Map<string, Actor[]> {
  const groups = new Map<string, Actor[]>();
  for (const actor of actors) groups.set(actor[by], [...(groups.get(actor[by]) ?? []), actor]);
  return groups;
}

function kindOf(actors: Actor[]): Kind {
  const sum = (field: 'depth' | 'capacity' | 'handled' | 'refused' | 'restarts') =>
    actors.reduce((sum, actor) => sum + actor[field], 0);
  return {
    kind: actors[0]?.kind ?? '',
    actors: actors.length,
    depth: sum('depth'),
    capacity: sum('capacity'),
    fullest: Math.max(...actors.map(({ depth, capacity }) => (capacity > 0 ? Math.min(1, depth / capacity) : 0))),
    handled: sum('handled'),
    refused: sum('refused'),
    restarts: sum('restarts'),
  };
}
