import { expect, test } from 'vitest';
import { parsePlace, placeOf } from './place';

test('every place comes back from its address', () => {
  const places: [string | null, string | null][] = [[null, null], ['t1', null], ['t1', 'alice'], ['t.2', 'a/../b ü?#%|:*'], ['t', '<b>']];
  for (const [tenant, user] of places) expect(parsePlace(placeOf(tenant, user))).toEqual({ tenant, user });
});

test('an address that can be none is the start', () => {
  for (const hash of ['', '#', '#/', '#/tenants', '#/tenants/', '#/other/t1', '#/tenants/%zz', '#/tenants/%E0%A4']) {
    expect(parsePlace(hash)).toEqual({ tenant: null, user: null });
  }
});
