// Light, dark or as the system says; remembered in this browser.
export type Theme = 'system' | 'light' | 'dark';

const KEY = 'mkat.theme';
const dark = () => window.matchMedia('(prefers-color-scheme: dark)');

export function storedTheme(): Theme {
  const stored = localStorage.getItem(KEY);
  return stored === 'light' || stored === 'dark' ? stored : 'system';
}

function show(theme: Theme): void {
  const shown = theme === 'system' ? (dark().matches ? 'dark' : 'light') : theme;
  document.documentElement.dataset.theme = shown;
}

export function setTheme(theme: Theme): void {
  if (theme === 'system') localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, theme);
  show(theme);
}

/** Shows the stored theme and follows the system. */
export function startTheme(): void {
  show(storedTheme());
  dark().addEventListener('change', () => show(storedTheme()));
}
