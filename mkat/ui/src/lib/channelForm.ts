// Channel configurations as form fields: which fields each type has, and the JSON text that is stored. Secrets arrive
// masked; a mask sent back keeps the stored secret.
import type { ChannelType } from '../api/types';

export const MASK = '********';

export interface ChannelField {
  name: string;
  label: string;
  kind: 'text' | 'secret' | 'number' | 'flag' | 'lines' | 'headers' | 'tls';
  needed?: boolean;
  hint?: string;
}

const FIELDS: Record<ChannelType, ChannelField[]> = {
  0: [
    { name: 'botToken', label: 'Bot token', kind: 'secret', needed: true, hint: 'From @BotFather: digits, colon, text.' },
    { name: 'chatId', label: 'Chat id', kind: 'text', needed: true, hint: 'A number (groups are negative) or @name of a public channel.' },
    { name: 'messageThreadId', label: 'Topic of a forum group', kind: 'number' },
    { name: 'silent', label: 'Without sound', kind: 'flag' },
    { name: 'apiBaseUrl', label: 'Own Bot API server', kind: 'text' },
  ],
  1: [
    { name: 'to', label: 'To', kind: 'text', needed: true, hint: 'Addresses, by comma.' },
    { name: 'from', label: 'From', kind: 'text', hint: 'From here to the password: empty without an own mail server.' },
    { name: 'host', label: 'Mail server', kind: 'text' },
    { name: 'port', label: 'Port', kind: 'number' },
    { name: 'tls', label: 'Encryption', kind: 'tls' },
    { name: 'username', label: 'User name', kind: 'text' },
    { name: 'password', label: 'Password', kind: 'secret' },
    { name: 'caCertificate', label: 'Certificate to trust (PEM)', kind: 'lines' },
    { name: 'subjectPrefix', label: 'Prefix of the subject', kind: 'text' },
  ],
  2: [
    { name: 'url', label: 'Address', kind: 'text', needed: true, hint: 'One POST per alert. It is shown: put no secret into it.' },
    { name: 'secret', label: 'Signing secret', kind: 'secret' },
    { name: 'headers', label: 'Further headers', kind: 'headers', hint: 'One "Name: value" per line; values are secrets.' },
  ],
  3: [
    { name: 'accessToken', label: 'Access token', kind: 'secret', needed: true, hint: 'Or the whole address of the robot.' },
    { name: 'secret', label: 'Signing secret', kind: 'secret' },
    { name: 'keyword', label: 'Keyword', kind: 'text' },
    { name: 'atMobiles', label: 'Mention these phone numbers', kind: 'text', hint: 'By comma.' },
    { name: 'atAll', label: 'Mention everybody', kind: 'flag' },
    { name: 'apiBaseUrl', label: 'Other API server', kind: 'text' },
  ],
  4: [
    { name: 'key', label: 'Key', kind: 'secret', needed: true, hint: 'Or the whole address of the robot.' },
    { name: 'mentionedList', label: 'Mention these users', kind: 'text', hint: 'By comma.' },
    { name: 'mentionedMobiles', label: 'Mention these phone numbers', kind: 'text', hint: 'By comma.' },
    { name: 'apiBaseUrl', label: 'Other API server', kind: 'text' },
  ],
};

export const channelFields = (type: ChannelType): ChannelField[] => FIELDS[type] ?? [];

export type ChannelValues = Record<string, string>;

/** Stored text to form values. What the form has no field for is kept under its own name. */
export function valuesOf(configuration: string): ChannelValues {
  let stored: Record<string, unknown>;
  try {
    stored = JSON.parse(configuration) as Record<string, unknown>;
  } catch {
    return {};
  }
  return Object.fromEntries(Object.entries(stored ?? {}).map(([name, value]) => [name, textOf(value)]));
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.join(', ');
  if (value !== null && typeof value === 'object') return Object.entries(value).map(([name, one]) => `${name}: ${String(one)}`).join('\n');
  return value === null || value === undefined ? '' : String(value);
}

/** Form values to the text that is stored; empty fields are left out. */
export function configurationOf(type: ChannelType, values: ChannelValues): string {
  const known = channelFields(type);
  const stored: Record<string, unknown> = {};
  for (const { name, kind } of known) {
    const text = (values[name] ?? '').trim();
    if (text === '') continue;
    if (kind === 'flag') stored[name] = text === 'true';
    else if (kind === 'number') stored[name] = /^-?\d+$/.test(text) ? Number(text) : text;
    else if (kind === 'headers') stored[name] = headersOf(text);
    else stored[name] = text;
  }
  return JSON.stringify(stored);
}

function headersOf(text: string): Record<string, string> {
  const lines = text.split('\n').map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(lines.map((line) => {
    const colon = line.indexOf(':');
    return colon < 0 ? [line, ''] : [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  }));
}

/** What tells a channel from others of its type. */
export function channelSummary(type: ChannelType, configuration: string): string {
  const values = valuesOf(configuration);
  const name = ({ 0: 'chatId', 1: 'to', 2: 'url', 3: 'keyword', 4: 'mentionedList' } as const)[type];
  return values[name] ?? '';
}
