import { expect, test } from 'vitest';
import { protoTables, sdkTables } from '../../../ts/test/proto.js';
import { hex, message, unhex, vectors } from '../../../ts/test/vectors.js';
import * as sdk from '../src/index.js';
import { isValidHookRequest, splitHookRequest } from '../src/signature.js';

test('the field tables are those of mics_hook.proto', () => {
  const proto = protoTables('mics.hook.v1');
  expect(Object.keys(proto)).toContain('MqEvent');
  expect(sdkTables(sdk, Object.keys(proto))).toEqual(proto);
});

test('optional fields are written even when zero', () => {
  const vector = vectors('frames').vectors.find((v: any) => v.type === 'TenantRuntimeConfig');
  const config = message(vector.fields);
  expect(hex(sdk.TenantRuntimeConfigCodec.encode(config).finish())).toBe(vector.hex);
  expect(sdk.TenantRuntimeConfigCodec.decode(unhex(vector.hex))).toEqual(config);
});

const hooks: any[] = vectors('hook-signatures').vectors;
test.each(hooks.map((v) => [v.name, v]))('hook signature %s', (_, v) => {
  const codec: any = (sdk as any)[`${v.type}Codec`];
  const meta = message(v.meta);
  expect(hex(codec.encode({ ...message(v.fields), meta }).finish())).toBe(v.cleared_hex);
  expect(sdk.computeHookSignBase64(v.key, meta, unhex(v.cleared_hex))).toBe(v.sign);
  expect(sdk.verifyHookSign(v.key, meta, unhex(v.cleared_hex), v.sign)).toBe(true);
  const sent = codec.encode({ ...message(v.fields), meta: { ...meta, sign: v.sign } }).finish();
  if (v.sent_hex) expect(hex(sent)).toBe(v.sent_hex);
  const parts = splitHookRequest(sent);
  expect(hex(parts.payload)).toBe(v.cleared_hex);
  expect(hex(parts.suffix)).toBe(v.suffix_hex);
  expect(isValidHookRequest(v.key, parts)).toBe(true);
  expect(isValidHookRequest(`${v.key}x`, parts)).toBe(false);
});

const events: any[] = vectors('event-signatures').vectors;
test.each(events.map((v) => [v.name, v]))('event signature %s', (_, v) => {
  const sent = unhex(v.sent_hex);
  const result = sdk.decodeAndVerifyMqEvent(sent, { tenantSecret: v.key });
  expect(result).toMatchObject({ ok: true, event: { ...message(v.fields), sign: v.sign } });
  expect(sdk.computeMqEventSignBase64(v.key, sdk.decodeMqEvent(sent))).toBe(v.sign);
  expect(hex(sdk.encodeMqEvent(sdk.decodeMqEvent(sent)))).toBe(v.sent_hex);
  expect(sdk.decodeAndVerifyMqEvent(sent, { tenantSecret: 'other' })).toMatchObject({ ok: false, reason: 'invalid sign' });
  const decoded = sdk.tryDecodeConnectAck(sdk.decodeMqEvent(sent)) ?? sdk.tryDecodeMessage(sdk.decodeMqEvent(sent));
  expect(decoded?.tenantId).toBe('t1');
});

test('every changed byte of a signed request or event is noticed', () => {
  const valid = (bytes: Uint8Array, key: string, split: boolean): boolean => {
    try {
      return split ? isValidHookRequest(key, splitHookRequest(bytes)) : sdk.verifyMqEventSign(key, bytes);
    } catch {
      return false;
    }
  };
  for (const [list, split] of [[hooks, true], [events, false]] as const) {
    const { sent_hex, key } = list[1];
    for (let i = 0; i < sent_hex.length / 2; i++) {
      const bytes = unhex(sent_hex);
      bytes[i]! ^= 1;
      expect(valid(bytes, key, split), `${split} byte ${i}`).toBe(false);
    }
  }
});

test('the same base64 in another spelling is refused', () => {
  const { sent_hex, key, sign } = hooks[0];
  const parts = splitHookRequest(unhex(sent_hex));
  for (const other of [sign.replace('=', ''), `${sign} `, sign.replace('+', '-'), sign.replace('Qo=', 'Qp=')]) {
    expect(other).not.toBe(sign);
    expect(isValidHookRequest(key, { ...parts, sign: other })).toBe(false);
  }
});

test('topics are named by tenant', () => {
  expect([sdk.eventTopicName('t1'), sdk.dlqTopicName('t1')]).toEqual(['im-mics-t1-event', 'im-mics-t1-event-dlq']);
});
