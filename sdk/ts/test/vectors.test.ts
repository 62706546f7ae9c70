import { expect, test } from 'vitest';
import { EnvelopeCrypto } from '../src/crypto.js';
import { AesGcmMessageCrypto, ClientFrameCodec, closeAction, ServerFrameCodec } from '../src/index.js';
import { hex, message, unhex, vectors } from './vectors.js';

const frames: any[] = vectors('frames').vectors.filter((v: any) => v.payload);
test.each(frames.map((v) => [v.name, v]))('frame %s', (_, vector) => {
  const frame: any = { [camelPayload(vector.payload)]: message(vector.fields) };
  const codec: any = vector.type === 'ClientFrame' ? ClientFrameCodec : ServerFrameCodec;
  expect(hex(codec.encode(frame).finish())).toBe(vector.hex);
  expect(codec.decode(unhex(vector.hex))).toEqual(frame);
});

function camelPayload(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

const envelopes = vectors('envelopes');
test.each<[string, any]>(envelopes.vectors.map((v: any) => [v.name, v]))('envelope %s', async (_, v) => {
  const crypto = new AesGcmMessageCrypto(unhex(v.key_hex));
  expect(hex(await crypto.decrypt(unhex(v.envelope_hex)))).toBe(v.plaintext_hex);
  const fixed = new EnvelopeCrypto(unhex(v.key_hex), {
    ...(crypto as any).aes,
    randomBytes: () => unhex(v.nonce_hex),
  });
  expect(hex(await fixed.encrypt(unhex(v.plaintext_hex)))).toBe(v.envelope_hex);
});

test.each<[string, any]>(envelopes.rejected.map((v: any) => [v.name, v]))('refused envelope %s', async (_, v) => {
  await expect(new AesGcmMessageCrypto(unhex(v.key_hex)).decrypt(unhex(v.envelope_hex))).rejects.toThrow();
});

test('nonces differ, and odd keys are refused', async () => {
  const crypto = new AesGcmMessageCrypto(new Uint8Array(16));
  const nonces = await Promise.all([1, 2, 3].map(async () => hex((await crypto.encrypt(unhex('00'))).slice(1, 13))));
  expect(new Set(nonces).size).toBe(3);
  expect(() => new AesGcmMessageCrypto(new Uint8Array(15))).toThrow(RangeError);
});

const codes: any[] = vectors('close-codes').close;
test.each(codes.map((c) => [c.code, c]))('close code %i', (code, { client, reason }) => {
  expect(closeAction(code, reason ?? 'anything')).toBe(client);
});

test('codes that are not listed: retry', () => {
  for (const code of [1000, 1001, 1005, 1006, 1009, 4999]) expect(closeAction(code)).toBe('retry');
});
