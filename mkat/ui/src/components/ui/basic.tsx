// Small parts that every page uses: buttons, panels, badges, times, messages.
import { clsx } from 'clsx';
import type { ComponentProps, ReactNode } from 'react';
import { useEffect, useState } from 'react';
import { instant, relative } from '../../lib/format';
import { messageOf } from '../../lib/errors';

const LOOKS = {
  plain: 'border-field bg-panel hover:bg-hover',
  main: 'border-accent bg-accent text-on-accent hover:opacity-90',
  danger: 'border-down text-down bg-panel hover:bg-hover',
  quiet: 'border-transparent hover:bg-hover',
};

export function buttonClass(look: keyof typeof LOOKS = 'plain', extra?: string): string {
  return clsx(
    'inline-flex items-center justify-center gap-1.5 rounded-md border px-3 py-1.5 font-medium',
    'disabled:cursor-not-allowed disabled:opacity-60', LOOKS[look], extra,
  );
}

export function Button({ look, className, ...rest }: ComponentProps<'button'> & { look?: keyof typeof LOOKS }) {
  return <button type="button" className={buttonClass(look, className)} {...rest} />;
}

export function Panel({ title, actions, children, className }: { title?: ReactNode; actions?: ReactNode; children: ReactNode; className?: string }) {
  return (
    <section className={clsx('panel min-w-0', className)}>
      {(title || actions) && (
        <div className="mb-3 flex flex-wrap items-center justify-between gap-2">
          <h2>{title}</h2>
          {actions}
        </div>
      )}
      {children}
    </section>
  );
}

export function Badge({ children, tone = 'text-soft' }: { children: ReactNode; tone?: string }) {
  return <span className={clsx('inline-block rounded border border-current px-1.5 text-xs whitespace-nowrap', tone)}>{children}</span>;
}

/** Milliseconds since 1970, renewed every `every` milliseconds. */
export function useNow(every = 15_000): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

export function Time({ at }: { at: string }) {
  // What just arrived is never in the future.
  const now = Math.max(useNow(), Date.now());
  return <time dateTime={at} title={instant(at)}>{relative(at, now)}</time>;
}

export function ErrorNote({ error }: { error: unknown }) {
  if (!error) return null;
  return <p role="alert" className="rounded-md border border-down p-2 text-down">{capital(messageOf(error))}.</p>;
}

export function Empty({ children }: { children: ReactNode }) {
  return <p className="py-4 text-center text-soft">{children}</p>;
}

export function Loading() {
  return <p role="status" className="py-4 text-center text-soft">Loading…</p>;
}

/** As a sentence without its full stop; names of fields (`chatId`) stay as they are. */
export function capital(text: string): string {
  const sentence = text.replace(/\.$/, '');
  return /^[a-z]+\b/.test(sentence) ? sentence.charAt(0).toUpperCase() + sentence.slice(1) : sentence;
}
