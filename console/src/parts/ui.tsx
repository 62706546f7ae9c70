// The few building blocks that every view uses.

import { useId, type ComponentProps, type ReactNode } from 'react';

export function Card({ title, aside, children }: { title: string; aside?: ReactNode; children: ReactNode }) {
  const id = useId();
  return (
    <section aria-labelledby={id} className="bg-card border-line min-w-0 rounded-xl border p-3 sm:p-4">
      <div className="mb-2 flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1">
        <h2 id={id} className="text-base font-semibold">
          {title}
        </h2>
        {aside && <div className="text-dim text-xs">{aside}</div>}
      </div>
      {children}
    </section>
  );
}

type Look = 'plain' | 'primary' | 'danger';
const LOOKS: Record<Look, string> = {
  plain: 'border-line hover:border-accent bg-card',
  primary: 'border-accent bg-accent text-on-accent font-semibold',
  danger: 'border-bad text-bad bg-card hover:bg-bad-back',
};

export function Button({ look = 'plain', className = '', ...props }: { look?: Look } & ComponentProps<'button'>) {
  return <button type="button" className={`rounded-lg border px-3 py-1 ${LOOKS[look]} ${className}`} {...props} />;
}

export function Field({ label, className = '', ...props }: { label: string } & ComponentProps<'input'>) {
  return (
    <label className={`flex min-w-0 flex-col gap-1 ${className}`}>
      <span className="text-dim text-xs">{label}</span>
      <input
        className="border-line bg-card min-w-0 rounded-lg border px-3 py-1.5"
        autoComplete="off"
        autoCapitalize="off"
        spellCheck={false}
        {...props}
      />
    </label>
  );
}

export type Tone = 'good' | 'warn' | 'bad' | 'dim';
const TONES: Record<Tone, string> = {
  good: 'bg-good-back text-good',
  warn: 'bg-warn-back text-warn',
  bad: 'bg-bad-back text-bad',
  dim: 'bg-back text-dim',
};

export function Badge({ tone, children, ...props }: { tone: Tone; children: ReactNode } & ComponentProps<'span'>) {
  return (
    <span className={`inline-block rounded-full px-2 py-0.5 text-xs font-medium whitespace-nowrap ${TONES[tone]}`} {...props}>
      {children}
    </span>
  );
}

/** What went wrong; read out at once. */
export function Alert({ children }: { children: ReactNode }) {
  return (
    <p role="alert" className="bg-bad-back text-bad rounded-lg px-3 py-2 break-words">
      {children}
    </p>
  );
}

/** A table that scrolls sideways by itself where it has no room; reachable with the keyboard. */
export function Table({ label, head, children }: { label: string; head: string[]; children: ReactNode }) {
  return (
    <div role="region" aria-label={label} tabIndex={0} className="-mx-2 overflow-x-auto">
      <table className="w-full border-collapse tabular-nums">
        <caption className="sr-only">{label}</caption>
        <thead>
          <tr>
            {head.map((title) => (
              <th key={title} scope="col">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

/** A share from 0 to 1 as a bar; the figure beside it says the same in words. */
export function Bar({ share }: { share: number }) {
  const tone = share >= 0.8 ? 'fill-bad' : share >= 0.5 ? 'fill-warn' : 'fill-accent';
  return (
    <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" className="inline-block h-2 w-16 rounded-full">
      <rect width="100" height="8" className="fill-line" />
      <rect width={Math.max(0, Math.min(1, share)) * 100} height="8" className={tone} />
    </svg>
  );
}
