// Whether this browser has signed in. The cookie itself is out of the page's reach; this only saves a useless question.
const KEY = 'mkat.signedIn';

export const wasSignedIn = (): boolean => localStorage.getItem(KEY) === '1';

export function rememberSignedIn(signedIn: boolean): void {
  if (signedIn) localStorage.setItem(KEY, '1');
  else localStorage.removeItem(KEY);
}
