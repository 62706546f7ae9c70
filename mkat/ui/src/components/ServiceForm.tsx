// The fields of a service: its own, its monitors, its contacts. Complaints of the server stand at their fields.
import { useQuery } from '@tanstack/react-query';
import type { Details } from '../api/client';
import { contactsQuery } from '../api/queries';
import { detailsUnder, fieldError, otherErrors } from '../lib/errors';
import { SEVERITIES } from '../lib/labels';
import { newMonitor, type MonitorForm } from '../lib/monitorForm';
import { MonitorFields } from './MonitorFields';
import { Button, ErrorNote } from './ui/basic';
import { AreaField, CheckField, SelectField, TextField, numbered } from './ui/fields';

export interface ServiceFormValue {
  name: string;
  description: string;
  severity: string;
  monitors: MonitorForm[];
  /** Chosen contacts; empty: the default contact. */
  contactIds: string[];
}

export const emptyService = (): ServiceFormValue => ({ name: '', description: '', severity: '1', monitors: [newMonitor()], contactIds: [] });

interface Props {
  value: ServiceFormValue;
  onChange: (value: ServiceFormValue) => void;
  /** What is wrong with the service's own fields. */
  details: Details | null;
  /** What is wrong with a monitor, by its key. */
  monitorDetails: (monitor: MonitorForm, index: number) => Details | null;
}

export function ServiceForm({ value, onChange, details, monitorDetails }: Props) {
  const set = (change: Partial<ServiceFormValue>) => onChange({ ...value, ...change });
  const others = otherErrors(withoutMonitors(details), ['Name', 'Description', 'Severity']);
  return (
    <>
      <section className="panel grid gap-3" aria-label="Service">
        <TextField label="Name" required maxLength={100} value={value.name} onChange={(name) => set({ name })} error={fieldError(details, 'Name')} />
        <AreaField label="Description (optional)" value={value.description} onChange={(description) => set({ description })} error={fieldError(details, 'Description')} />
        <SelectField label="Severity" options={numbered(SEVERITIES)} value={value.severity} onChange={(severity) => set({ severity })} error={fieldError(details, 'Severity')} />
        {others.length > 0 && <ErrorNote error={others.join('; ')} />}
      </section>
      {value.monitors.map((monitor, index) => (
        <MonitorFields
          key={monitor.key} form={monitor} number={index + 1} details={monitorDetails(monitor, index)}
          onChange={(changed) => set({ monitors: value.monitors.map((one) => (one.key === monitor.key ? changed : one)) })}
          onRemove={value.monitors.length > 1 ? () => set({ monitors: value.monitors.filter((one) => one.key !== monitor.key) }) : undefined}
        />
      ))}
      <div><Button onClick={() => set({ monitors: [...value.monitors, newMonitor(0)] })}>Add a monitor</Button></div>
      <ContactPicker chosen={value.contactIds} onChange={(contactIds) => set({ contactIds })} />
    </>
  );
}

/** Monitors show their own; "Monitors" itself (none given) stays. */
function withoutMonitors(details: Details | null): Details {
  return Object.fromEntries(Object.entries(details ?? {}).filter(([key]) => !/^monitors\[/i.test(key)));
}

export const monitorDetailsOf = (details: Details | null, index: number): Details => detailsUnder(details, `Monitors[${index}]`);

function ContactPicker({ chosen, onChange }: { chosen: string[]; onChange: (ids: string[]) => void }) {
  const { data } = useQuery(contactsQuery);
  if (!data || data.length === 0) return null;
  return (
    <fieldset className="panel min-w-0">
      <legend className="px-1 font-semibold">Contacts</legend>
      <p className="mb-2 text-soft">Who is told. With none chosen, it is the default contact.</p>
      <div className="grid max-h-60 gap-2 overflow-auto sm:grid-cols-2">
        {data.map((contact) => (
          <CheckField
            key={contact.id} label={contact.isDefault ? `${contact.name} (default)` : contact.name} checked={chosen.includes(contact.id)}
            onChange={(on) => onChange(on ? [...chosen, contact.id] : chosen.filter((id) => id !== contact.id))}
          />
        ))}
      </div>
    </fieldset>
  );
}
