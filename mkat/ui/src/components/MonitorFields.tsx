// The fields of one monitor in a form, for its type.
import type { Details } from '../api/client';
import type { MonitorType } from '../api/types';
import { fieldError, otherErrors } from '../lib/errors';
import { MONITOR_TYPES, STRATEGIES } from '../lib/labels';
import { WINDOW_FIELD, type MonitorForm } from '../lib/monitorForm';
import { Button, ErrorNote } from './ui/basic';
import { SelectField, TextField, numbered } from './ui/fields';

interface Props {
  form: MonitorForm;
  number: number;
  details: Details | null;
  onChange: (form: MonitorForm) => void;
  /** Absent when it is the only one. */
  onRemove?: () => void;
}

const SHOWN = [
  'Type', 'IntervalSeconds', 'GracePeriodSeconds', 'MinValue', 'MaxValue', 'ThresholdStrategy', 'ThresholdCount', 'WindowSeconds',
  'WindowSampleCount', 'RetentionDays', 'HealthCheckUrl', 'HttpMethod', 'ExpectedStatusCodes', 'TimeoutSeconds', 'BodyMatchRegex',
];
const METHODS = ['GET', 'HEAD', 'POST', 'PUT'].map((name) => [name, name] as const);

export function MonitorFields({ form, number, details, onChange, onRemove }: Props) {
  const others = otherErrors(details, SHOWN);
  /** What every text field of the monitor shares. */
  const text = (key: keyof MonitorForm, label: string) => ({
    label,
    value: String(form[key] ?? ''),
    error: fieldError(details, key),
    onChange: (value: string) => onChange({ ...form, [key]: value }),
  });
  const whole = { inputMode: 'numeric' as const };

  return (
    <fieldset className="panel min-w-0">
      <legend className="px-1 font-semibold">Monitor {number}</legend>
      <div className="grid gap-3 sm:grid-cols-2">
        <SelectField
          label="Type" options={numbered(MONITOR_TYPES)} value={String(form.type)} disabled={form.id !== null}
          hint={form.id === null ? undefined : 'The type stays; add another monitor instead.'} error={fieldError(details, 'Type')}
          onChange={(value) => onChange({ ...form, type: Number(value) as MonitorType })}
        />
        {form.type === 3 && <MetricFields form={form} text={text} />}
        {form.type === 2 && (
          <>
            <TextField {...text('healthCheckUrl', 'Address to check')} type="url" placeholder="https://example.org/health" />
            <SelectField {...text('httpMethod', 'Method')} options={METHODS} />
            <TextField {...text('expectedStatusCodes', 'Expected status codes')} hint="Numbers, by comma." />
            <TextField {...text('timeoutSeconds', 'Timeout in seconds')} {...whole} hint="1 to 120." />
            <TextField {...text('bodyMatchRegex', 'Body must match (optional)')} hint="A regular expression." />
          </>
        )}
        <TextField
          {...text('intervalSeconds', form.type === 2 ? 'Check every, in seconds' : 'Interval in seconds')} {...whole}
          hint={form.type === 0 || form.type === 3 ? 'Kept, but this type does not use it.' : 'At most 7 days (604800).'}
        />
        {form.type < 2 && (
          <TextField
            {...text('gracePeriodSeconds', 'Grace in seconds')} {...whole}
            hint="Added to the interval; empty: a tenth of it."
          />
        )}
      </div>
      {others.length > 0 && <div className="mt-3"><ErrorNote error={others.join('; ')} /></div>}
      {onRemove && <div className="mt-3 text-right"><Button look="danger" onClick={onRemove}>Remove monitor {number}</Button></div>}
    </fieldset>
  );
}

interface TextProps {
  label: string;
  value: string;
  error?: string;
  onChange: (value: string) => void;
}

const WINDOW_TEXT = {
  thresholdCount: ['Values in a row', 'So many values in a row out of range make it fail; one in range makes it recover.'],
  windowSeconds: ['Window in seconds', 'The mean of the values of this time is judged.'],
  windowSampleCount: ['Number of values', 'The mean of so many last values is judged.'],
} as const;

function MetricFields({ form, text }: { form: MonitorForm; text: (key: keyof MonitorForm, label: string) => TextProps }) {
  const window = WINDOW_FIELD[Number(form.thresholdStrategy)];
  return (
    <>
      <TextField {...text('minValue', 'Lowest good value')} inputMode="decimal" hint="Empty: no lower bound." />
      <TextField {...text('maxValue', 'Highest good value')} inputMode="decimal" hint="Empty: no upper bound. One of both is needed." />
      <SelectField {...text('thresholdStrategy', 'Judged by')} options={numbered(STRATEGIES)} />
      {window && <TextField {...text(window, WINDOW_TEXT[window][0])} inputMode="numeric" hint={WINDOW_TEXT[window][1]} />}
      <TextField {...text('retentionDays', 'Keep values for, in days')} inputMode="numeric" hint="1 to 365." />
    </>
  );
}
