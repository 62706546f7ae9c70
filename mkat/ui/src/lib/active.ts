// Which alerts still hold: the newest failure of every service that is down now.
import type { Alert, Service } from '../api/types';
import { RECOVERY } from './labels';

/** `alerts` are newest first. `silent`: services that are down without an alert among them. Unacknowledged come first. */
export function activeAlerts(down: Service[], alerts: Alert[]): { active: Alert[]; silent: Service[] } {
  const newest = new Map<string, Alert>();
  for (const alert of alerts) if (!newest.has(alert.serviceId)) newest.set(alert.serviceId, alert);
  const holds = (service: Service) => {
    const alert = newest.get(service.id);
    return alert && alert.type !== RECOVERY ? alert : undefined;
  };
  const active = down.flatMap((service) => holds(service) ?? []);
  active.sort((a, b) => Number(a.acknowledgedAt !== null) - Number(b.acknowledgedAt !== null) || b.createdAt.localeCompare(a.createdAt));
  return { active, silent: down.filter((service) => !holds(service)) };
}
