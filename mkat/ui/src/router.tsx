// Routes, relative to wherever the page is served. Everything but the sign-in asks for a session first.
import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext, createRoute, createRouter, lazyRouteComponent, redirect,
} from '@tanstack/react-router';
import { ApiError } from './api/client';
import { sessionQuery } from './api/queries';
import { Layout } from './components/Layout';
import { ErrorNote, Loading } from './components/ui/basic';
import { base } from './lib/base';
import { alertsSearch, nextPlace, servicesSearch } from './lib/search';
import { rememberSignedIn, wasSignedIn } from './lib/session';
import { AlertsPage } from './pages/Alerts';
import { DashboardPage } from './pages/Dashboard';
import { LoginPage } from './pages/Login';
import { NotFoundPage } from './pages/NotFound';
import { ServiceDetailPage } from './pages/ServiceDetail';
import { ServicesPage } from './pages/Services';

const root = createRootRouteWithContext<{ client: QueryClient }>()({ notFoundComponent: NotFoundPage });

const login = createRoute({
  getParentRoute: () => root,
  path: '/login',
  validateSearch: (raw: Record<string, unknown>): { next?: string } => {
    const next = nextPlace(raw.next);
    return next === '/' ? {} : { next };
  },
  component: LoginPage,
});

const inside = createRoute({
  getParentRoute: () => root,
  id: 'inside',
  component: Layout,
  beforeLoad: async ({ context, location }) => {
    const toLogin = () => redirect({ to: '/login', search: { next: location.href } });
    if (!wasSignedIn()) throw toLogin();
    try {
      await context.client.ensureQueryData(sessionQuery);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) throw error;
      rememberSignedIn(false);
      throw toLogin();
    }
  },
});

const parent = () => inside;
const page = [
  createRoute({ getParentRoute: parent, path: '/', component: DashboardPage }),
  createRoute({ getParentRoute: parent, path: '/services', validateSearch: servicesSearch, component: ServicesPage }),
  createRoute({
    getParentRoute: parent, path: '/services/new',
    component: lazyRouteComponent(() => import('./pages/ServiceForms'), 'NewServicePage'),
  }),
  createRoute({ getParentRoute: parent, path: '/services/$id', component: ServiceDetailPage }),
  createRoute({
    getParentRoute: parent, path: '/services/$id/edit',
    component: lazyRouteComponent(() => import('./pages/ServiceForms'), 'EditServicePage'),
  }),
  createRoute({ getParentRoute: parent, path: '/alerts', validateSearch: alertsSearch, component: AlertsPage }),
  createRoute({ getParentRoute: parent, path: '/peers', component: lazyRouteComponent(() => import('./pages/Peers'), 'PeersPage') }),
  createRoute({ getParentRoute: parent, path: '/contacts', component: lazyRouteComponent(() => import('./pages/Contacts'), 'ContactsPage') }),
  createRoute({ getParentRoute: parent, path: '/receivers', component: lazyRouteComponent(() => import('./pages/Receivers'), 'ReceiversPage') }),
  createRoute({ getParentRoute: parent, path: '/settings', component: lazyRouteComponent(() => import('./pages/Settings'), 'SettingsPage') }),
] as const;

const routes = root.addChildren([login, inside.addChildren(page)]);

export function createPageRouter(client: QueryClient) {
  return createRouter({
    routeTree: routes,
    basepath: base || '/',
    context: { client },
    defaultPendingComponent: Loading,
    defaultErrorComponent: ({ error }) => <ErrorNote error={error} />,
    scrollRestoration: true,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof createPageRouter>;
  }
}
