// The operator's token: in this tab's session storage and nowhere else, gone when the tab is closed or the operator
// signs out.

const KEY = 'mics.console.token';

export const token = {
  get: (): string | null => sessionStorage.getItem(KEY),
  set: (value: string): void => sessionStorage.setItem(KEY, value),
  clear: (): void => sessionStorage.removeItem(KEY),
};

/** A token can only be what an HTTP header can carry: printable ASCII without spaces around it. */
export function usable(value: string): boolean {
  return /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value);
}
