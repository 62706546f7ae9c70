// The frame of every page: navigation, state of the live updates, and where screen readers hear of the new page.
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, Outlet, useRouterState } from '@tanstack/react-router';
import { clsx } from 'clsx';
import { useEffect, useRef } from 'react';
import { summaryQuery } from '../api/queries';
import { startLive, useLive } from '../lib/live';

const PLACES = [
  ['/', 'Dashboard'], ['/services', 'Services'], ['/alerts', 'Alerts'], ['/contacts', 'Contacts'], ['/receivers', 'Receivers'], ['/peers', 'Peers'],
  ['/settings', 'Settings'],
] as const;

export function Layout() {
  const client = useQueryClient();
  const main = useRef<HTMLElement>(null);
  const path = useRouterState({ select: (state) => state.location.pathname });
  const first = useRef(true);

  useEffect(() => startLive(client), [client]);
  useEffect(() => {
    // A link inside the page moves the reader to the new content, as a loaded document would.
    if (!first.current) main.current?.focus({ preventScroll: true });
    first.current = false;
  }, [path]);

  return (
    <div className="mx-auto min-h-dvh max-w-6xl px-3 pb-10 sm:px-5">
      <a href="#main" className="sr-only focus:not-sr-only" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>Skip to content</a>
      <header className="flex flex-wrap items-center gap-x-6 gap-y-1 py-3">
        <Link to="/" className="text-lg font-bold">mkat</Link>
        <nav aria-label="Main" className="order-last w-full sm:order-none sm:w-auto">
          <ul className="flex flex-wrap gap-1">
            {PLACES.map(([to, name]) => (
              <li key={to}>
                <Link
                  to={to} activeOptions={{ exact: to === '/' }}
                  className="block rounded-md px-2 py-1 text-soft hover:bg-hover"
                  activeProps={{ className: 'bg-hover font-semibold !text-ink', 'aria-current': 'page' }}
                >
                  {name}
                </Link>
              </li>
            ))}
          </ul>
        </nav>
        <span className="ml-auto"><Live /></span>
      </header>
      <main ref={main} id="main" tabIndex={-1} className="outline-none">
        <Outlet />
      </main>
    </div>
  );
}

const LIVE = { live: ['Live', 'bg-up'], connecting: ['Connecting', 'bg-unknown'], polling: ['Every 10 s', 'bg-paused'] } as const;

/** How fresh the page is; the tab's title says how many services are down. */
function Live() {
  const live = useLive();
  const { data } = useQuery(summaryQuery);
  const down = data?.down ?? 0;
  useEffect(() => {
    document.title = down > 0 ? `(${down}) mkat` : 'mkat';
  }, [down]);
  const [text, colour] = LIVE[live];
  return (
    <span role="status" data-live={live} className="inline-flex items-center gap-1.5 text-xs text-soft" title="How changes reach this page">
      <span aria-hidden className={clsx('size-2 rounded-full', colour)} />
      {text}
    </span>
  );
}
