/** AES-GCM by WebCrypto. */
import { webCrypto } from '#platform';
import type { AesGcm } from './crypto.js';
import { EnvelopeCrypto } from './crypto.js';

const webAesGcm: AesGcm = {
  async seal(key, nonce, plaintext) {
    const imported = await importKey(key);
    return new Uint8Array(await subtle().encrypt({ name: 'AES-GCM', iv: own(nonce) }, imported, own(plaintext)));
  },
  async open(key, nonce, sealed) {
    const imported = await importKey(key);
    return new Uint8Array(await subtle().decrypt({ name: 'AES-GCM', iv: own(nonce) }, imported, own(sealed)));
  },
  randomBytes: (count) => platform().getRandomValues(new Uint8Array(count)),
};

/** Imported once per key object; `EnvelopeCrypto` keeps one. */
const keys = /* @__PURE__ */ new WeakMap<Uint8Array, Promise<CryptoKey>>();

function importKey(key: Uint8Array): Promise<CryptoKey> {
  let imported = keys.get(key);
  if (!imported) {
    imported = subtle().importKey('raw', own(key), 'AES-GCM', false, ['encrypt', 'decrypt']);
    keys.set(key, imported);
  }
  return imported;
}

function platform(): Crypto {
  const crypto = webCrypto();
  if (!crypto) throw new Error('WebCrypto is missing: serve the page over https');
  return crypto;
}

function subtle(): SubtleCrypto {
  return platform().subtle;
}

/** WebCrypto's types ask for bytes that are not shared between threads. */
function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>;
}

/**
 * AES-GCM with the envelope `0x01 | nonce (12) | tag (16) | ciphertext`; an empty body stays empty. Keys of 16, 24 or
 * 32 bytes; Chromium's WebCrypto has no 24-byte keys.
 */
export class AesGcmMessageCrypto extends EnvelopeCrypto {
  constructor(key: Uint8Array) {
    super(key, webAesGcm);
  }
}
