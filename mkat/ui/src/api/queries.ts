// What pages read. Keys begin with what live updates make stale (see lib/live.ts).
import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { api } from './client';
import type {
  Alert, Contact, Delivery, FiringAlert, MuteWindow, Page, Peer, Reading, Receiver, RecentEvent, Rollup, Service, ServiceEvent, Session, Summary,
  Transition, Uptime,
} from './types';

export interface ServiceFilter {
  page?: number;
  pageSize?: number;
  search?: string;
  state?: number;
  severity?: number;
}

export interface AlertFilter {
  page?: number;
  pageSize?: number;
  serviceId?: string;
  type?: number;
  severity?: number;
  acknowledged?: boolean;
  from?: string;
  to?: string;
}

export const sessionQuery = queryOptions({
  queryKey: ['session'],
  queryFn: ({ signal }) => api.get<Session>('/session', {}, signal),
  staleTime: 60_000,
});

export const summaryQuery = queryOptions({
  queryKey: ['summary'],
  queryFn: ({ signal }) => api.get<Summary>('/services/summary', {}, signal),
});

export const servicesQuery = (filter: ServiceFilter) =>
  queryOptions({
    queryKey: ['services', filter],
    queryFn: ({ signal }) => api.get<Page<Service>>('/services', { ...filter }, signal),
    placeholderData: keepPreviousData,
  });

export const serviceQuery = (id: string) =>
  queryOptions({
    queryKey: ['service', id],
    queryFn: ({ signal }) => api.get<Service>(`/services/${encodeURIComponent(id)}`, {}, signal),
  });

/** Changes of state since `hours` ago, newest first. */
export const transitionsQuery = (id: string, hours: number) =>
  queryOptions({
    queryKey: ['service', id, 'transitions', hours],
    queryFn: ({ signal }) => api.get<Page<Transition>>(`/services/${id}/transitions`, { pageSize: 100, from: hoursAgo(hours) }, signal),
  });

export const uptimeQuery = (id: string, hours: number) =>
  queryOptions({
    queryKey: ['service', id, 'uptime', hours],
    queryFn: ({ signal }) => api.get<Uptime>(`/services/${id}/uptime`, { from: hoursAgo(hours) }, signal),
  });

/** The newest things that the service's monitors received. */
export const eventsQuery = (id: string) =>
  queryOptions({
    queryKey: ['service', id, 'events'],
    queryFn: ({ signal }) => api.get<ServiceEvent[]>(`/services/${id}/events`, { limit: 50 }, signal),
  });

/** The newest events of all services; `eventType` narrows them. */
export const recentEventsQuery = (filter: { page?: number; pageSize?: number; eventType?: string }) =>
  queryOptions({
    queryKey: ['events', filter],
    queryFn: ({ signal }) => api.get<Page<RecentEvent>>('/events', { ...filter }, signal),
    placeholderData: keepPreviousData,
  });

export const mutesQuery = (id: string) =>
  queryOptions({
    queryKey: ['service', id, 'mutes'],
    queryFn: ({ signal }) => api.get<MuteWindow[]>(`/services/${id}/mutes`, {}, signal),
  });

export const serviceContactsQuery = (id: string) =>
  queryOptions({
    queryKey: ['service', id, 'contacts'],
    queryFn: ({ signal }) => api.get<Contact[]>(`/services/${id}/contacts`, {}, signal),
  });

/** The newest readings (at most 1,000) since `hours` ago. */
export const readingsQuery = (serviceId: string, monitorId: string, hours: number) =>
  queryOptions({
    queryKey: ['service', serviceId, 'readings', monitorId, hours],
    queryFn: ({ signal }) => {
      const query = { limit: 1000, from: hoursAgo(hours) };
      return api.get<{ readings: Reading[]; totalCount: number }>(`/monitors/${monitorId}/metrics`, query, signal);
    },
    placeholderData: keepPreviousData,
  });

/** Hours (up to 30 days back) or days in numbers, oldest first: what reaches further back than single readings. */
export const rollupsQuery = (serviceId: string, monitorId: string, hours: number) =>
  queryOptions({
    queryKey: ['service', serviceId, 'rollups', monitorId, hours],
    queryFn: ({ signal }) => {
      const query = { granularity: hours <= 720 ? 'Hourly' : 'Daily', from: hoursAgo(hours) };
      return api.get<Rollup[]>(`/monitors/${monitorId}/rollups`, query, signal);
    },
    placeholderData: keepPreviousData,
  });

export const alertsQuery = (filter: AlertFilter) =>
  queryOptions({
    queryKey: ['alerts', filter],
    queryFn: ({ signal }) => api.get<Page<Alert>>('/alerts', { ...filter }, signal),
    placeholderData: keepPreviousData,
  });

export const deliveriesQuery = (alertId: string) =>
  queryOptions({
    queryKey: ['deliveries', alertId],
    queryFn: ({ signal }) => api.get<Delivery[]>(`/alerts/${alertId}/deliveries`, {}, signal),
  });

export const contactsQuery = queryOptions({
  queryKey: ['contacts'],
  queryFn: ({ signal }) => api.get<Contact[]>('/contacts', {}, signal),
});

export const peersQuery = queryOptions({
  queryKey: ['peers'],
  queryFn: ({ signal }) => api.get<Peer[]>('/peers', {}, signal),
});

export const receiversQuery = queryOptions({
  queryKey: ['receivers'],
  queryFn: ({ signal }) => api.get<Receiver[]>('/alertmanager/receivers', {}, signal),
});

/** The newest alerts that fire in a receiver. */
export const firingQuery = (id: string) =>
  queryOptions({
    queryKey: ['receivers', id, 'alerts'],
    queryFn: ({ signal }) => api.get<FiringAlert[]>(`/alertmanager/receivers/${id}/alerts`, { limit: 50 }, signal),
  });

function hoursAgo(hours: number): string {
  return new Date(Date.now() - hours * 3_600_000).toISOString();
}
