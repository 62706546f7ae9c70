// Figures as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

/** A dash for what is not known. */
export const NONE = '–';

export const count = (value: number | null | undefined): string => (value == null ? NONE : whole.format(value));

/** `1 connection`, `2 connections`. */
export const plural = (value: number, word: string): string => `${whole.format(value)} ${word}${value === 1 ? '' : 's'}`;

/** Per second; one decimal below 100. */
export function rate(value: number | null | undefined): string {
  if (value == null) return NONE;
  return (value < 100 ? tenth : whole).format(value);
}

export function ms(value: number | null | undefined): string {
  if (value == null) return NONE;
  if (value >= 1000) return `${tenth.format(value / 1000)} s`;
  return `${(value < 10 ? tenth : whole).format(value)} ms`;
}

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${(unit === 0 ? whole : tenth).format(value)} ${units[unit]}`;
}

/** The two largest units of a time span: `3 d 4 h`. */
export function span(value_ms: number): string {
  const seconds = Math.max(0, Math.floor(value_ms / 1000));
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  const shown = first < 0 ? parts.slice(-1) : parts.slice(first, first + 2).filter(([number]) => number > 0);
  return shown.map(([number, unit]) => `${number} ${unit}`).join(' ');
}

/** A limit of which 0 means none. */
export const limit = (value: number): string => (value === 0 ? 'none' : whole.format(value));
