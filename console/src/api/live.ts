// The live overview: one stream, opened again when it breaks, closed while nobody looks at the tab.

import { useEffect, useState } from 'react';
import { isUnauthorized, request } from './client';
import { eventsOf } from './events';
import type { Overview } from './types';

/** `lost`: shown figures are old; it is tried again. */
export type LiveState = 'connecting' | 'live' | 'lost' | 'unauthorized';

export interface Live {
  state: LiveState;
  overview: Overview | null;
  /** One point a second, the latest last. */
  history: Point[];
  problem: string;
}

export interface Point {
  at_ms: number;
  connections: number;
  messages: number | null;
  deliveries: number | null;
}

export const POINTS = 120;
/** An event comes every second; without one for so long the stream is dead. */
const SILENCE_MS = 8_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;
const START: Live = { state: 'connecting', overview: null, history: [], problem: '' };

/** The next state after a sample. A sample of another node or of before what is shown begins the history anew. */
export function withSample(live: Live, overview: Overview): Live {
  const last = live.history.at(-1);
  const goesOn = live.overview?.node === overview.node && last !== undefined && last.at_ms < overview.at_ms;
  const { connections, messages_per_second: messages, deliveries_per_second: deliveries } = overview.cluster;
  const point = { at_ms: overview.at_ms, connections, messages, deliveries };
  return {
    state: 'live',
    overview,
    history: [...(goesOn ? live.history : []), point].slice(-POINTS),
    problem: '',
  };
}

/** Reads one stream to its end. Throws when it breaks, is silent for long, or is refused. */
async function read(stop: AbortSignal, onSample: (overview: Overview) => void): Promise<void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await request('/overview/stream', { signal: AbortSignal.any([stop, silence.signal]) });
    for await (const { event, data } of eventsOf(response)) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      if (event === 'overview') onSample(JSON.parse(data) as Overview);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Follows the stream until `stop`, or until the API wants a (other) token. */
async function follow(stop: AbortSignal, change: (next: (live: Live) => Live) => void): Promise<void> {
  let pause = FIRST_PAUSE_MS;
  while (!stop.aborted) {
    let problem = 'The stream has ended.';
    try {
      await read(stop, (overview) => {
        pause = FIRST_PAUSE_MS;
        change((live) => withSample(live, overview));
      });
    } catch (error) {
      if (stop.aborted) return;
      if (isUnauthorized(error)) return change(() => ({ ...START, state: 'unauthorized', problem: (error as Error).message }));
      problem = error instanceof DOMException ? 'No news for some seconds.' : (error as Error).message;
    }
    change((live) => ({ ...live, state: 'lost', problem }));
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

/** Live figures. `attempt` changes when there is a new token to try. */
export function useLive(attempt: number): Live {
  const [live, setLive] = useState(START);
  useEffect(() => {
    let stop: AbortController | null = null;
    const onVisibility = () => {
      if (document.visibilityState === 'hidden') {
        stop?.abort();
        stop = null;
        setLive((live) => (live.state === 'unauthorized' ? live : { ...live, state: 'connecting' }));
      } else if (!stop) {
        stop = new AbortController();
        const { signal } = stop;
        void follow(signal, (next) => signal.aborted || setLive(next));
      }
    };
    setLive(START);
    onVisibility();
    document.addEventListener('visibilitychange', onVisibility);
    return () => {
      document.removeEventListener('visibilitychange', onVisibility);
      stop?.abort();
    };
  }, [attempt]);
  return live;
}
