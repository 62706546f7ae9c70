// The form of an Alertmanager receiver and what the API takes.
import type { Receiver } from '../api/types';

/** Texts as they are typed. */
export interface ReceiverForm {
  name: string;
  serviceTemplate: string;
  maxServices: string;
  expireSeconds: string;
  watchdogAlert: string;
  watchdogSeconds: string;
  /** A new secret; empty keeps what is there. */
  bearer: string;
  dropBearer: boolean;
}

/** The server's defaults, written out so that they can be seen. */
export const emptyReceiver = (): ReceiverForm => ({
  name: '', serviceTemplate: '{{alertname}}', maxServices: '100', expireSeconds: '28800', watchdogAlert: 'Watchdog', watchdogSeconds: '600',
  bearer: '', dropBearer: false,
});

export const receiverFormOf = (receiver: Receiver): ReceiverForm => ({
  ...emptyReceiver(),
  name: receiver.name,
  serviceTemplate: receiver.serviceTemplate,
  maxServices: String(receiver.maxServices),
  expireSeconds: String(receiver.expireSeconds),
  watchdogAlert: receiver.watchdogAlert,
  watchdogSeconds: String(receiver.watchdogSeconds),
});

/** Numbers go as they were typed: the server says what is wrong with them. */
export function receiverInputOf({ bearer, dropBearer, ...settings }: ReceiverForm): Record<string, string> {
  if (dropBearer) return { ...settings, bearer: '' };
  return bearer === '' ? settings : { ...settings, bearer };
}
