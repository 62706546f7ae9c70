// A small line of the last two minutes.

import { POINTS } from '../api/live';

const [WIDTH, HEIGHT] = [240, 40];

/** Path of a line through `values`, the latest at the right edge; gaps where a value is missing. */
export function pathOf(values: (number | null)[]): string {
  const largest = Math.max(1, ...values.map((value) => value ?? 0));
  const start = POINTS - values.length;
  let path = '';
  let pen = 'M';
  values.forEach((value, index) => {
    if (value === null) return void (pen = 'M');
    const x = ((start + index) / (POINTS - 1)) * WIDTH;
    const y = HEIGHT - 2 - (value / largest) * (HEIGHT - 4);
    path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = 'L';
  });
  return path;
}

export function Spark({ values }: { values: (number | null)[] }) {
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true" className="text-accent h-10 w-full">
      <path d={pathOf(values)} fill="none" stroke="currentColor" strokeWidth="1.5" vectorEffect="non-scaling-stroke" />
    </svg>
  );
}
