// Live updates: one stream of events; every event makes the queries it concerns stale. While there is no stream,
// queries poll.
import type { QueryClient } from '@tanstack/react-query';
import { useSyncExternalStore } from 'react';
import { PAGE_HEADER, url } from '../api/client';
import { eventReader, type ServerEvent } from './sse';

export type LiveState = 'live' | 'connecting' | 'polling';

export const POLL_MS = 10_000;
/** Also with a stream: it mentions only some of very many signals. */
export const SLOW_POLL_MS = 60_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
/** How often a server that has no stream is asked again. */
const MISSING_WAIT_MS = 60_000;
/** Without a byte for this long the connection counts as dead; the server sends comments more often. */
const SILENCE_MS = 60_000;
/** Events within this time lead to one refresh. */
const GATHER_MS = 150;

let state: LiveState = 'connecting';
const listeners = new Set<() => void>();

function setState(next: LiveState): void {
  if (state === next) return;
  state = next;
  listeners.forEach((listener) => listener());
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const liveState = (): LiveState => state;
export const useLive = (): LiveState => useSyncExternalStore(subscribe, liveState);

/** Query keys (first elements) that an event touches. Signals of monitors touch their own service and the newest events. */
export function touched(event: ServerEvent): string[][] {
  let data: { serviceId?: string; alertId?: string } = {};
  try {
    data = JSON.parse(event.data) ?? {};
  } catch {
    return [[]];
  }
  const service = data.serviceId ? [['service', data.serviceId]] : [];
  switch (event.event) {
    case 'heartbeat':
    case 'metric':
    case 'received':
      return [...service, ['events']];
    case 'state_change':
    case 'service_changed':
      return [...service, ['services'], ['summary'], ['alerts'], ['peers'], ['events'], ['receivers']];
    case 'alert_created':
    case 'alert_acknowledged':
    case 'alert_dispatched':
    case 'delivery':
      return [['alerts'], ['deliveries'], ['contacts']];
    case 'contacts_changed':
      return [['contacts'], ['service']];
    case 'peer':
      return [['peers']];
    case 'receivers_changed':
      return [['receivers']];
    default:
      return [[]]; // "reset" (the server has forgotten what was missed) and the unknown: everything
  }
}

/** Full jitter: many pages do not come back in step. */
export function waitBefore(attempt: number, random: number): number {
  return Math.round(Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt) * (0.5 + random / 2));
}

/** Makes queries stale, also those whose first answer is on its way: it may be older than the event. */
export function stale(client: QueryClient, queryKey: string[]): void {
  for (const query of client.getQueryCache().findAll({ queryKey, fetchStatus: 'fetching' })) {
    // The library joins a first fetch instead of beginning anew.
    if (query.state.data === undefined) {
      const again = () => client.invalidateQueries({ queryKey: query.queryKey, exact: true });
      void query.promise?.then(again, () => undefined);
    }
  }
  void client.invalidateQueries({ queryKey });
}

/** Runs until the returned function is called. */
export function startLive(client: QueryClient): () => void {
  const stop = new AbortController();
  let lastId = '';
  let gathered = new Map<string, string[]>();
  let timer: number | undefined;

  function refresh(keys: string[][]): void {
    for (const key of keys) gathered.set(key.join('/'), key);
    timer ??= window.setTimeout(() => {
      const now = gathered;
      gathered = new Map();
      timer = undefined;
      for (const key of now.has('') ? [[]] : now.values()) stale(client, key);
    }, GATHER_MS);
  }

  /** One connection, until it ends. False: the server has no stream. */
  async function connect(): Promise<boolean> {
    const connection = new AbortController();
    const signal = AbortSignal.any([stop.signal, connection.signal]);
    let silence = window.setTimeout(() => connection.abort(), SILENCE_MS);
    try {
      const headers: Record<string, string> = { ...PAGE_HEADER, Accept: 'text/event-stream' };
      if (lastId) headers['Last-Event-ID'] = lastId;
      const response = await fetch(url('/events/stream'), { headers, signal });
      if (response.status === 404) return false;
      if (!response.ok || !response.body) throw new Error(`stream: ${response.status}`);
      setState('live');
      refresh([[]]); // whatever happened before the stream stood
      const read = eventReader((event) => {
        lastId = event.id || lastId;
        refresh(touched(event));
      });
      const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await pieces.read(); !piece.done; piece = await pieces.read()) {
        window.clearTimeout(silence);
        silence = window.setTimeout(() => connection.abort(), SILENCE_MS);
        read(piece.value);
      }
      return true;
    } finally {
      window.clearTimeout(silence);
      connection.abort();
    }
  }

  async function run(): Promise<void> {
    let attempt = 0;
    while (!stop.signal.aborted) {
      let exists = true;
      try {
        exists = await connect();
        attempt = 0;
      } catch {
        if (state === 'live') attempt = 0;
      }
      if (stop.signal.aborted) return;
      setState('polling');
      refresh([[]]); // also starts the polling of what is shown
      await pause(exists ? waitBefore(attempt, Math.random()) : MISSING_WAIT_MS, stop.signal);
      attempt += 1;
    }
  }

  void run();
  return () => {
    stop.abort();
    window.clearTimeout(timer);
    setState('connecting');
  };
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = window.setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      window.clearTimeout(timer);
      resolve();
    });
  });
}

