// States of nodes and breakers as badges: the word says it, the colour only helps.

import type { BreakerState, NodeState } from '../api/types';
import { Badge, type Tone } from './ui';

const NODE: Record<NodeState, Tone> = { serving: 'good', draining: 'warn', drained: 'dim', unreachable: 'bad' };
const BREAKER: Record<BreakerState, [Tone, string]> = {
  closed: ['good', 'closed'],
  half_open: ['warn', 'half open'],
  open: ['bad', 'open'],
};

export const NodeBadge = ({ state }: { state: NodeState }) => (
  <Badge tone={NODE[state]} data-state={state}>
    {state}
  </Badge>
);

export const BreakerBadge = ({ state }: { state: BreakerState }) => (
  <Badge tone={BREAKER[state][0]} data-state={state}>
    {BREAKER[state][1]}
  </Badge>
);
