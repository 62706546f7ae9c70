// Form fields with label, hint and the server's complaint, tied together for screen readers.
import { useId, type ComponentProps, type ReactNode } from 'react';
import { capital } from './basic';

interface Common {
  label: ReactNode;
  hint?: ReactNode;
  error?: string;
  className?: string;
}

interface Wiring {
  id: string;
  'aria-invalid': boolean;
  'aria-describedby': string | undefined;
}

/** Label and notes around any control. */
export function Field({ label, hint, error, className, children }: Common & { children: (wiring: Wiring) => ReactNode }) {
  const id = useId();
  const describedBy = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ') || undefined;
  return (
    <div className={className}>
      <label htmlFor={id} className="mb-1 block font-medium">{label}</label>
      {children({ id, 'aria-invalid': Boolean(error), 'aria-describedby': describedBy })}
      {hint && <p id={`${id}-hint`} className="mt-1 text-xs text-soft">{hint}</p>}
      {error && <p id={`${id}-error`} className="mt-1 text-down">{capital(error)}.</p>}
    </div>
  );
}

type Input = Omit<ComponentProps<'input'>, 'onChange'> & Common & { onChange: (value: string) => void };

export function TextField({ label, hint, error, className, onChange, ...rest }: Input) {
  return (
    <Field label={label} hint={hint} error={error} className={className}>
      {(wiring) => <input className="input" {...wiring} {...rest} onChange={(event) => onChange(event.target.value)} />}
    </Field>
  );
}

type Area = Omit<ComponentProps<'textarea'>, 'onChange'> & Common & { onChange: (value: string) => void };

export function AreaField({ label, hint, error, className, onChange, ...rest }: Area) {
  return (
    <Field label={label} hint={hint} error={error} className={className}>
      {(wiring) => <textarea className="input" rows={3} {...wiring} {...rest} onChange={(event) => onChange(event.target.value)} />}
    </Field>
  );
}

type Select = Omit<ComponentProps<'select'>, 'onChange'> & Common & {
  onChange: (value: string) => void;
  options: readonly (readonly [value: string, label: string])[];
};

export function SelectField({ label, hint, error, className, onChange, options, ...rest }: Select) {
  return (
    <Field label={label} hint={hint} error={error} className={className}>
      {(wiring) => (
        <select className="input" {...wiring} {...rest} onChange={(event) => onChange(event.target.value)}>
          {options.map(([value, text]) => <option key={value} value={value}>{text}</option>)}
        </select>
      )}
    </Field>
  );
}

/** Names in the order of their numbers, as options. */
export function numbered(names: readonly string[]): [string, string][] {
  return names.map((name, number) => [String(number), name]);
}

export function CheckField({ label, checked, onChange, disabled }: { label: ReactNode; checked: boolean; onChange: (checked: boolean) => void; disabled?: boolean }) {
  return (
    <label className="flex items-center gap-2">
      <input type="checkbox" className="size-4 shrink-0" checked={checked} disabled={disabled} onChange={(event) => onChange(event.target.checked)} />
      <span className="min-w-0 break-words">{label}</span>
    </label>
  );
}
