// What the API says and takes (docs: /api/v1/openapi.json). Instants are ISO 8601 texts in UTC.

export type ServiceState = 0 | 1 | 2 | 3;
export type MonitorType = 0 | 1 | 2 | 3;
export type Severity = 0 | 1 | 2 | 3;
export type Strategy = 0 | 1 | 2 | 3;
export type AlertType = 0 | 1 | 2 | 3;
export type ChannelType = 0 | 1 | 2 | 3 | 4;

export interface Page<T> {
  items: T[];
  page: number;
  pageSize: number;
  totalCount: number;
  totalPages: number;
  hasNextPage: boolean;
  hasPreviousPage: boolean;
}

export interface Monitor {
  id: string;
  type: MonitorType;
  /** What this monitor alone says: Unknown, Up or Down. */
  state: 0 | 1 | 2;
  token: string;
  intervalSeconds: number;
  gracePeriodSeconds: number;
  lastCheckIn: string | null;
  webhookFailUrl: string;
  webhookRecoverUrl: string;
  heartbeatUrl: string;
  metricUrl: string;
  minValue: number | null;
  maxValue: number | null;
  thresholdStrategy: Strategy | null;
  thresholdCount: number | null;
  windowSeconds: number | null;
  windowSampleCount: number | null;
  retentionDays: number | null;
  lastMetricValue: number | null;
  lastMetricAt: string | null;
  healthCheckUrl: string | null;
  httpMethod: string | null;
  expectedStatusCodes: string | null;
  timeoutSeconds: number | null;
  bodyMatchRegex: string | null;
}

export interface Service {
  id: string;
  name: string;
  description: string | null;
  state: ServiceState;
  severity: Severity;
  pausedUntil: string | null;
  createdAt: string;
  updatedAt: string;
  /** "peer", "alertmanager", ... when it was not made by hand. */
  managedBy: string | null;
  monitors: Monitor[];
}

export interface Summary {
  unknown: number;
  up: number;
  down: number;
  paused: number;
  total: number;
}

export interface Transition {
  id: number;
  monitorId: string | null;
  from: ServiceState;
  to: ServiceState;
  trigger: string;
  reason: string | null;
  createdAt: string;
}

export interface Alert {
  id: string;
  serviceId: string;
  serviceName: string;
  type: AlertType;
  severity: Severity;
  message: string;
  createdAt: string;
  acknowledgedAt: string | null;
  acknowledgedBy: string | null;
  dispatchedAt: string | null;
  muted: boolean;
}

export interface Delivery {
  id: number;
  alertId: string;
  channelType: ChannelType | null;
  contactName: string | null;
  status: 'pending' | 'sending' | 'sent' | 'dead' | 'cancelled';
  attempts: number;
  nextAttemptAt: string | null;
  lastError: string | null;
  possiblyRepeated: boolean;
  createdAt: string;
  sentAt: string | null;
  latencyMs: number | null;
}

export interface MuteWindow {
  id: string;
  startsAt: string;
  endsAt: string;
  reason: string | null;
}

export interface Reading {
  id: string;
  value: number;
  recordedAt: string;
  outOfRange: boolean;
}

export interface ServiceEvent {
  id: string;
  monitorId: string | null;
  eventType: string;
  success: boolean;
  value: number | null;
  isOutOfRange: boolean;
  message: string | null;
  createdAt: string;
}

/** One of the newest events of all services. */
export interface RecentEvent extends ServiceEvent {
  serviceId: string;
  serviceName: string;
}

/** Readings of one hour, day, ... in numbers. */
export interface Rollup {
  periodStart: string;
  count: number;
  min: number | null;
  max: number | null;
  mean: number | null;
}

export interface Uptime {
  /** 0 also when the service was neither up nor down. */
  uptimePercent: number;
  upSeconds: number;
  downSeconds: number;
}

export interface Channel {
  id: string;
  contactId: string;
  contactName: string;
  type: ChannelType;
  /** A JSON object as text; secrets are masked. */
  configuration: string;
  isEnabled: boolean;
  isManaged?: boolean;
  disabledReason?: string | null;
  failingSince?: string | null;
  failureCount?: number;
  lastSuccessAt?: string | null;
  lastError?: string | null;
}

export interface Contact {
  id: string;
  name: string;
  isDefault: boolean;
  createdAt: string;
  channels: Channel[];
  serviceCount: number;
}

export interface Peer {
  id: string;
  name: string;
  url: string;
  serviceId: string;
  pairedAt: string;
  heartbeatIntervalSeconds: number;
  serviceState: ServiceState | null;
  /** False: the other side cannot be told anything, or tells us nothing. */
  twoWay: boolean;
  /** Its last heartbeat here. */
  lastReceivedAt: string | null;
  /** Our last heartbeat there that it took. */
  lastDeliveredAt: string | null;
  lastError: string | null;
  /** It no longer knows us. */
  forgotten: boolean;
  /** We have told it that we cannot notify. */
  reportedBroken: boolean;
}

/** Takes the messages of an Alertmanager. */
export interface Receiver {
  id: string;
  name: string;
  /** Where Alertmanager posts to; its token is the secret in it. */
  url: string;
  serviceTemplate: string;
  maxServices: number;
  expireSeconds: number;
  /** Name of the alert that always fires; empty for none. */
  watchdogAlert: string;
  watchdogSeconds: number;
  hasBearer: boolean;
  createdAt: string;
  services: number;
  firing: number;
  /** Alerts that a message left out. */
  truncated: number;
  /** Null until the watchdog alert was heard of. */
  watchdog: { serviceId: string; state: 0 | 1 | 2; serviceState: ServiceState; lastHeardAt: string | null } | null;
}

/** What fires in a receiver now. */
export interface FiringAlert {
  fingerprint: string;
  startsAt: string;
  severity: Severity;
  summary: string;
  serviceId: string;
  serviceName: string;
}

export interface Session {
  username: string;
  expiresAt: string | null;
}

export interface Ready {
  status: string;
  database: boolean;
  workers: { name: string; alive: boolean }[];
}
