// Saves an edited service: its own fields, then its monitors one by one, then its contacts. What was stored is noted in
// the form at once, so that saving again after a complaint repeats nothing.
import { ApiError, type Details } from '../api/client';
import type { Contact, Monitor, Service } from '../api/types';
import type { ServiceFormValue } from '../components/ServiceForm';
import { messageOf } from './errors';
import { inputOf, isChanged, type MonitorForm } from './monitorForm';

/** A complaint about one monitor of the form. */
export class MonitorError extends Error {
  readonly key: string;
  readonly details: Details | null;

  constructor(key: string, number: number, cause: unknown) {
    super(`monitor ${number}: ${messageOf(cause)}`, { cause });
    this.key = key;
    this.details = cause instanceof ApiError ? cause.details : null;
  }
}

interface Client {
  post: <T>(path: string, body?: unknown) => Promise<T>;
  put: <T>(path: string, body: unknown) => Promise<T>;
  delete: (path: string) => Promise<null>;
}

export async function saveService(
  api: Client, stored: Service, contacts: Contact[], value: ServiceFormValue, onStored: (value: ServiceFormValue) => void,
): Promise<void> {
  const path = `/services/${stored.id}`;
  await api.put(path, { name: value.name, description: value.description || null, severity: Number(value.severity) });
  let form = value;
  for (const [index, monitor] of value.monitors.entries()) {
    try {
      const added = await saveMonitor(api, path, stored, monitor);
      if (!added) continue;
      form = { ...form, monitors: form.monitors.map((one) => (one.key === monitor.key ? { ...one, id: added.id } : one)) };
      onStored(form);
    } catch (error) {
      throw new MonitorError(monitor.key, index + 1, error);
    }
  }
  // Last, because a service must not be without a monitor in between.
  const kept = new Set(form.monitors.map((monitor) => monitor.id));
  for (const monitor of stored.monitors) if (!kept.has(monitor.id)) await removed(api.delete(`${path}/monitors/${monitor.id}`));
  const before = contacts.map((contact) => contact.id).sort().join();
  if ([...value.contactIds].sort().join() !== before) await api.put(`${path}/contacts`, { contactIds: value.contactIds });
}

async function saveMonitor(api: Client, path: string, stored: Service, form: MonitorForm): Promise<Monitor | null> {
  if (form.id === null) return api.post<Monitor>(`${path}/monitors`, inputOf(form));
  const before = stored.monitors.find((monitor) => monitor.id === form.id);
  if (!before || isChanged(form, before)) await api.put(`${path}/monitors/${form.id}`, inputOf(form));
  return null;
}

/** Already gone is as good. */
async function removed(deletion: Promise<unknown>): Promise<void> {
  await deletion.catch((error: unknown) => {
    if (!(error instanceof ApiError && error.code === 'MONITOR_NOT_FOUND')) throw error;
  });
}
