// Starts the page: theme, data, routes.
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { ApiError, onSignedOut } from './api/client';
import { POLL_MS, SLOW_POLL_MS, liveState } from './lib/live';
import { rememberSignedIn } from './lib/session';
import { startTheme } from './lib/theme';
import { createPageRouter } from './router';
import './styles.css';

startTheme();

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // What the caller did wrong stays wrong; everything else may have been a moment's trouble.
      retry: (count, error) => count < 2 && !(error instanceof ApiError && error.status >= 400 && error.status < 500),
      staleTime: 2_000,
      refetchInterval: (query) => {
        const missing = query.state.error instanceof ApiError && query.state.error.isMissingEndpoint;
        if (missing || query.queryKey[0] === 'session') return false;
        return liveState() === 'polling' ? POLL_MS : SLOW_POLL_MS;
      },
    },
  },
});

const router = createPageRouter(client);

onSignedOut(() => {
  rememberSignedIn(false);
  const { pathname, href } = router.state.location;
  if (pathname !== '/login') void router.navigate({ to: '/login', search: { next: href } });
});

const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </StrictMode>,
  );
}
