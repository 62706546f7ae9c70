// A state as symbol, colour and word: never by colour alone.
import { clsx } from 'clsx';
import type { ServiceState, Severity } from '../api/types';
import { severityName, stateName } from '../lib/labels';
import { Badge } from './ui/basic';

export const STATE_TEXT = ['text-unknown', 'text-up', 'text-down', 'text-paused'];
const SHAPES = ['?', '✓', '!', 'II'];

export function StateIndicator({ state, large }: { state: ServiceState; large?: boolean }) {
  return (
    <span className={clsx('inline-flex items-center gap-1.5 font-semibold whitespace-nowrap', STATE_TEXT[state], large && 'text-base')}>
      <span
        aria-hidden
        className={clsx('inline-flex size-5 items-center justify-center rounded-full border-2 border-current text-[10px] leading-none', state === 2 && 'animate-pulse')}
      >
        {SHAPES[state]}
      </span>
      {stateName(state)}
    </span>
  );
}

const SEVERITY_TEXT = ['text-soft', 'text-soft', 'text-paused', 'text-down'];

export function SeverityBadge({ severity }: { severity: Severity }) {
  return <Badge tone={SEVERITY_TEXT[severity]}>{severityName(severity)}</Badge>;
}
