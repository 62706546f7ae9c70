/** Reads the shared vectors in `proto/vectors`, and gives their snake_case fields the shape of this SDK's messages. */
import { readFileSync } from 'node:fs';

export function vectors(name: string): any {
  return JSON.parse(readFileSync(new URL(`../../../proto/vectors/${name}.json`, import.meta.url), 'utf8'));
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
export const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
export const camel = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

const ENUMS: Record<string, number> = {
  SINGLE_CHAT: 0,
  GROUP_CHAT: 1,
  SENT: 0,
  FAILED: 1,
  CONNECT_ONLINE: 0,
  CONNECT_OFFLINE: 1,
  SINGLE_CHAT_MSG: 2,
  GROUP_CHAT_MSG: 3,
  OFFLINE_MESSAGE: 4,
};
const ENUM_FIELDS = ['msg_type', 'status', 'event_type'];

/** `{msg_body_hex: "01"}` becomes `{msgBody: Uint8Array[1]}`, names of enum values become numbers. */
export function message(fields: Record<string, any>): any {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      if (name.endsWith('_hex')) return [camel(name.slice(0, -4)), unhex(value)];
      if (ENUM_FIELDS.includes(name)) return [camel(name), ENUMS[value]];
      return [camel(name), value !== null && typeof value === 'object' ? message(value) : value];
    }),
  );
}
