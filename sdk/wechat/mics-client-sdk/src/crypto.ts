/** AES-GCM in JavaScript, because mini programs have no WebCrypto. */
import { gcm } from '@noble/ciphers/aes.js';
import { EnvelopeCrypto } from '../../../ts/src/crypto.js';
import { randomBytes } from './wx.js';

/**
 * AES-GCM with the envelope `0x01 | nonce (12) | tag (16) | ciphertext`; an empty body stays empty. Keys of 16, 24 or
 * 32 bytes. Nonces come from `wx.getRandomValues`.
 */
export class AesGcmMessageCrypto extends EnvelopeCrypto {
  /** `random` replaces `wx.getRandomValues`; it must be cryptographically secure. */
  constructor(key: Uint8Array, random: (count: number) => Uint8Array | Promise<Uint8Array> = randomBytes) {
    super(key, {
      seal: (key, nonce, plaintext) => gcm(key, nonce).encrypt(plaintext),
      open: (key, nonce, sealed) => gcm(key, nonce).decrypt(sealed),
      randomBytes: random,
    });
  }
}
