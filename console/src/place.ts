// Which part of the console is shown, in the address after `#`, so that it can be passed on: `#/tenants/t1/users/alice`.

import { useSyncExternalStore } from 'react';

export interface Place {
  tenant: string | null;
  user: string | null;
}

export function parsePlace(hash: string): Place {
  const [, tenants, tenant, users, user] = hash.replace(/^#/, '').split('/');
  try {
    return {
      tenant: tenants === 'tenants' && tenant ? decodeURIComponent(tenant) : null,
      user: tenants === 'tenants' && users === 'users' && user ? decodeURIComponent(user) : null,
    };
  } catch {
    return { tenant: null, user: null };
  }
}

export function placeOf(tenant: string | null, user: string | null = null): string {
  if (tenant === null) return '#/';
  return `#/tenants/${encodeURIComponent(tenant)}${user === null ? '' : `/users/${encodeURIComponent(user)}`}`;
}

function subscribe(changed: () => void): () => void {
  window.addEventListener('hashchange', changed);
  return () => window.removeEventListener('hashchange', changed);
}

export function usePlace(): Place {
  return parsePlace(useSyncExternalStore(subscribe, () => window.location.hash));
}
