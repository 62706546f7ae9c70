/** End-to-end encryption of bodies, and the envelope that all client SDKs share. */

/** Encrypts outgoing and decrypts incoming bodies. Called for non-empty bodies only. */
export interface MessageCrypto {
  encrypt(plaintext: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** Throws or rejects when the body was not encrypted with this key or was changed. */
  decrypt(envelope: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** AES-GCM without associated data, in the usual shape `ciphertext | tag (16)`. */
export interface AesGcm {
  seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** Throws or rejects when the tag does not fit. */
  open(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** Cryptographically secure random bytes. */
  randomBytes(count: number): Uint8Array | Promise<Uint8Array>;
}

const VERSION = 1;
const NONCE = 12;
const TAG = 16;
const HEADER = 1 + NONCE + TAG;

/** The envelope `0x01 | nonce (12) | tag (16) | ciphertext` around an AES-GCM implementation. Empty stays empty. */
export class EnvelopeCrypto implements MessageCrypto {
  private readonly key: Uint8Array;

  /** `key`: 16, 24 or 32 bytes. */
  constructor(
    key: Uint8Array,
    private readonly aes: AesGcm,
  ) {
    if (![16, 24, 32].includes(key.length)) throw new RangeError('key must have 16, 24 or 32 bytes');
    this.key = new Uint8Array(key);
  }

  async encrypt(plaintext: Uint8Array): Promise<Uint8Array> {
    if (plaintext.length === 0) return new Uint8Array(0);
    const nonce = await this.aes.randomBytes(NONCE);
    if (nonce.length !== NONCE) throw new Error('no random bytes');
    const sealed = await this.aes.seal(this.key, nonce, plaintext);
    const envelope = new Uint8Array(HEADER + plaintext.length);
    envelope[0] = VERSION;
    envelope.set(nonce, 1);
    envelope.set(sealed.subarray(plaintext.length), 1 + NONCE);
    envelope.set(sealed.subarray(0, plaintext.length), HEADER);
    return envelope;
  }

  async decrypt(envelope: Uint8Array): Promise<Uint8Array> {
    if (envelope.length === 0) return new Uint8Array(0);
    if (envelope.length < HEADER || envelope[0] !== VERSION) throw new Error('not an encryption envelope');
    const length = envelope.length - HEADER;
    const sealed = new Uint8Array(length + TAG);
    sealed.set(envelope.subarray(HEADER), 0);
    sealed.set(envelope.subarray(1 + NONCE, HEADER), length);
    return this.aes.open(this.key, envelope.slice(1, 1 + NONCE), sealed);
  }
}
