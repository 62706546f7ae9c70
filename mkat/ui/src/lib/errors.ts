// The server's complaints, brought to the fields they are about.
import { ApiError, type Details } from '../api/client';

/** Messages of one field, in one line; undefined when there are none. Keys are compared in any case. */
export function fieldError(details: Details | null, key: string): string | undefined {
  const found = Object.entries(details ?? {}).find(([name]) => name.toLowerCase() === key.toLowerCase());
  return found?.[1].join('; ');
}

/** What belongs to no shown field: rules across fields and fields the form does not have. */
export function otherErrors(details: Details | null, shown: string[]): string[] {
  const known = new Set(shown.map((key) => key.toLowerCase()));
  return Object.entries(details ?? {}).flatMap(([key, texts]) => {
    if (key !== '' && known.has(key.toLowerCase())) return [];
    return texts.map((text) => (key === '' ? text : `${key}: ${text}`));
  });
}

/** Details of `Monitors[2].X` as those of `X`, of `Monitors[2]` itself as those across fields; other keys are dropped. */
export function detailsUnder(details: Details | null, prefix: string): Details {
  const found: Details = {};
  for (const [key, texts] of Object.entries(details ?? {})) {
    const name = `${key}.`.toLowerCase();
    if (name.startsWith(`${prefix.toLowerCase()}.`)) found[key.slice(prefix.length + 1)] = texts;
  }
  return found;
}

export function detailsOf(error: unknown): Details | null {
  return error instanceof ApiError ? error.details : null;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
