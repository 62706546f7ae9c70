// The history of a service as stretches of time in one state, and what share of it the service was up.
import type { ServiceState, Transition } from '../api/types';

export interface Stretch {
  state: ServiceState;
  /** Milliseconds since 1970. */
  from: number;
  to: number;
}

/**
 * Stretches from `from` to `to`, oldest first. `transitions` are newest first and hold all of the range, or its newest
 * part: what is older than the oldest known is left out.
 */
export function stretches(transitions: Transition[], now: ServiceState, from: number, to: number, complete: boolean): Stretch[] {
  const changes = transitions.filter((one) => one.from !== one.to && Date.parse(one.createdAt) <= to);
  const found: Stretch[] = [];
  let end = to;
  let state = changes[0]?.to ?? now;
  for (const change of changes) {
    const at = Math.max(from, Date.parse(change.createdAt));
    if (at < end) found.push({ state, from: at, to: end });
    end = Math.min(end, at);
    state = change.from;
    if (at <= from) return found.reverse();
  }
  if (complete && end > from) found.push({ state, from, to: end });
  return found.reverse();
}

/** Share of the time in which the state was known to be up or down; null when it never was. */
export function uptimePercent(parts: Stretch[]): number | null {
  let up = 0;
  let down = 0;
  for (const part of parts) {
    if (part.state === 1) up += part.to - part.from;
    if (part.state === 2) down += part.to - part.from;
  }
  return up + down === 0 ? null : (100 * up) / (up + down);
}
