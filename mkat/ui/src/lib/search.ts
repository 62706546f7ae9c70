// Filters in the address: read leniently, so that an old or edited link still opens the page.

const whole = (value: unknown, min: number, max: number): number | undefined => {
  const number = Number(value);
  return value !== '' && Number.isInteger(number) && number >= min && number <= max ? number : undefined;
};

const text = (value: unknown): string | undefined => {
  const trimmed = value === undefined || value === null ? '' : String(value);
  return trimmed === '' ? undefined : trimmed;
};

/** Without what is not set, so that it does not show in the address. */
function compact<T extends object>(search: T): T {
  return Object.fromEntries(Object.entries(search).filter(([, value]) => value !== undefined)) as T;
}

export interface ServicesSearch {
  page?: number;
  search?: string;
  state?: number;
  severity?: number;
}

export function servicesSearch(raw: Record<string, unknown>): ServicesSearch {
  return compact({
    page: whole(raw.page, 2, 1_000_000_000),
    search: text(raw.search),
    state: whole(raw.state, 0, 3),
    severity: whole(raw.severity, 0, 3),
  });
}

export interface AlertsSearch {
  page?: number;
  type?: number;
  severity?: number;
  acknowledged?: boolean;
  serviceId?: string;
  from?: string;
  to?: string;
}

export function alertsSearch(raw: Record<string, unknown>): AlertsSearch {
  const acknowledged = { true: true, false: false }[String(raw.acknowledged)];
  return compact({
    page: whole(raw.page, 2, 1_000_000_000),
    type: whole(raw.type, 0, 3),
    severity: whole(raw.severity, 0, 3),
    acknowledged,
    serviceId: text(raw.serviceId),
    from: text(raw.from),
    to: text(raw.to),
  });
}

/** Where to go after signing in: a place of this page, nowhere else. */
export function nextPlace(next: unknown): string {
  const place = typeof next === 'string' ? next : '';
  return /^\/(?![/\\])/.test(place) && !place.startsWith('/login') ? place : '/';
}
