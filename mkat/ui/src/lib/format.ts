// Numbers and instants as people read them.

export function duration(seconds: number): string {
  const units: [number, string][] = [[86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  let rest = Math.max(0, Math.round(seconds));
  const parts: string[] = [];
  for (const [size, unit] of units) {
    const count = Math.floor(rest / size);
    if (count > 0) parts.push(`${count} ${unit}`);
    rest -= count * size;
    if (parts.length === 2) break;
  }
  return parts.join(' ') || '0 s';
}

/** "3 min ago", "in 2 h"; `now` in milliseconds. */
export function relative(instant: string, now: number): string {
  const seconds = (Date.parse(instant) - now) / 1000;
  if (Math.abs(seconds) < 5) return 'just now';
  const text = duration(coarse(Math.abs(seconds)));
  return seconds < 0 ? `${text} ago` : `in ${text}`;
}

/** Only the largest unit matters. */
function coarse(seconds: number): number {
  for (const size of [86_400, 3600, 60]) if (seconds >= size) return Math.floor(seconds / size) * size;
  return Math.floor(seconds);
}

const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

export function instant(text: string): string {
  return FULL.format(new Date(text));
}

export function number(value: number): string {
  return new Intl.NumberFormat(undefined, { maximumSignificantDigits: 6 }).format(value);
}

export function percent(value: number): string {
  // Rounded down: 99.999 % is not 100 %.
  return `${(Math.floor(value * 100) / 100).toFixed(2)} %`;
}

/** The local time `datetime-local` inputs speak, from and to instants. */
export function toLocalInput(date: Date): string {
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 16);
}

export function fromLocalInput(text: string): string | null {
  const date = new Date(text);
  return text === '' || Number.isNaN(date.getTime()) ? null : date.toISOString();
}
