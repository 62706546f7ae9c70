/** The address a client dials. The result holds the token and must not be logged. No `URL`: mini programs lack it. */
import { MicsError } from './errors.js';

/** Puts `tenantId`, `token` and `deviceId` into the query of `base`; other parameters stay, the fragment goes. */
export function connectUrl(base: string, tenantId: string, token: string, deviceId: string): string {
  const match = /^(wss?:\/\/[^/?#\s]+[^?#\s]*)(?:\?([^#\s]*))?(?:#.*)?$/i.exec(base);
  if (!match) throw new MicsError('invalid_argument', 'url must be ws://host or wss://host');
  const ours = ['tenantid', 'token', 'deviceid'];
  const kept = (match[2] ?? '').split('&').filter((pair) => pair && !ours.includes(nameOf(pair)));
  const added = Object.entries({ tenantId, token, deviceId }).map(([k, v]) => `${k}=${encodeURIComponent(v)}`);
  return `${match[1]}?${[...kept, ...added].join('&')}`;
}

function nameOf(pair: string): string {
  const name = pair.split('=', 1)[0]!;
  try {
    return decodeURIComponent(name).toLowerCase();
  } catch {
    return name.toLowerCase();
  }
}
