// The admin API's answers as the console reads them; described in src/admin/openapi.json. Counters are of the time since
// each node's start, sums over the nodes that answered.

export type NodeState = 'serving' | 'draining' | 'drained' | 'unreachable';
export type BreakerState = 'closed' | 'half_open' | 'open';

export interface NodeRow {
  node: string;
  endpoint: string;
  /** The node that answers. */
  here: boolean;
  age_ms: number;
  state: NodeState;
  /** Why it is unreachable; the figures below are then missing. */
  error?: string;
  version?: string;
  connections?: number;
  /** 0 = unlimited. */
  max_connections?: number;
  handshakes?: number;
}

/** Milliseconds. */
export interface Latency {
  mean: number;
  p50: number;
  p95: number;
  p99: number;
}

export interface Hook {
  op: string;
  breaker: BreakerState;
  openings: number;
  in_flight: number;
  calls: number;
  latency_ms: Latency | null;
}

export interface Tenant {
  tenant: string;
  connections: number;
  users: number;
  messages_in: number;
  deliveries: number;
  rate_limited: number;
  hook_degraded: number;
  /** The worst of its hooks. */
  breaker: BreakerState;
  hooks: Hook[];
  buffer: { users: number; messages: number; bytes: number };
  events: { waiting: number; dead_letters_waiting: number; dropped: number };
}

/** Since the sample before. */
export interface Rates {
  messages_per_second: number;
  deliveries_per_second: number;
  hooks: { op: string; calls_per_second: number; latency_ms: Latency | null }[];
}

export interface TenantRow extends Tenant {
  rates: Rates | null;
}

/** 0 = no limit. */
export interface Limits {
  /** Of the latest /auth answer; null before the first. */
  tenant: Record<string, number | boolean> | null;
  hooks: Record<string, number> | null;
}

export interface TenantDetail extends Tenant {
  limits: Limits;
  auth_url: string;
  nodes: (Tenant & { node: string })[];
  unreachable: string[];
}

export interface Actor {
  kind: string;
  /** Empty for actors of the node. */
  tenant: string;
  depth: number;
  capacity: number;
  handled: number;
  refused: number;
  restarts: number;
}

export interface Overview {
  at_ms: number;
  /** The node that answers. */
  node: string;
  interval_ms: number | null;
  cluster: {
    nodes: number;
    unreachable: number;
    connections: number;
    messages_per_second: number | null;
    deliveries_per_second: number | null;
  };
  nodes: NodeRow[];
  /** At most 200. */
  tenants: TenantRow[];
  tenants_total: number;
  /** Of the answering node. */
  actors: Actor[];
}

export interface Presence {
  user: string;
  online: boolean;
  connections: number;
  devices: { device: string; node: string; connection: string; online_at_ms: number }[];
  /** False: Redis is away, only the answering node's connections are known. */
  complete: boolean;
}

export interface Kicked {
  closed: number;
  /** False: a node did not answer; its connections may go on. */
  complete: boolean;
  nodes: { node: string; closed?: number; error?: string }[];
}

export interface Draining {
  node: string;
  already: boolean;
  connections: number;
}
