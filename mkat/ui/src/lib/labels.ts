// Names of the API's numbers, in the order of the numbers.
import type { AlertType, ChannelType, MonitorType, ServiceState, Severity, Strategy } from '../api/types';

export const STATES = ['Unknown', 'Up', 'Down', 'Paused'] as const;
export const SEVERITIES = ['Low', 'Medium', 'High', 'Critical'] as const;
export const MONITOR_TYPES = ['Webhook', 'Heartbeat', 'Health check', 'Metric'] as const;
export const ALERT_TYPES = ['Failure', 'Recovery', 'Missed heartbeat', 'Failed health check'] as const;
export const CHANNEL_TYPES = ['Telegram', 'E-mail', 'Webhook', 'DingTalk robot', 'WeCom robot'] as const;
export const STRATEGIES = ['Every value', 'Values in a row', 'Mean over time', 'Mean of last values'] as const;

export const stateName = (state: ServiceState) => STATES[state];
export const severityName = (severity: Severity) => SEVERITIES[severity];
export const monitorTypeName = (type: MonitorType) => MONITOR_TYPES[type];
export const alertTypeName = (type: AlertType) => ALERT_TYPES[type];
export const channelTypeName = (type: ChannelType) => CHANNEL_TYPES[type] ?? `Channel type ${type}`;
export const strategyName = (strategy: Strategy) => STRATEGIES[strategy];

export const RECOVERY: AlertType = 1;
export const DOWN: ServiceState = 2;
export const PAUSED: ServiceState = 3;
