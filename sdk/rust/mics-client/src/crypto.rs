//! End-to-end encryption of message bodies and the envelope all client SDKs share. Keys never leave this file.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInPlace, KeyInit, OsRng, rand_core::RngCore};
use aes_gcm::aes::Aes192;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};

const VERSION: u8 = 1;
const NONCE: usize = 12;
const TAG: usize = 16;
const HEADER: usize = 1 + NONCE + TAG;

/// Why a body could not be encrypted or decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    #[error("key must have 16, 24 or 32 bytes")]
    KeyLength,
    #[error("body is not an encryption envelope")]
    Envelope,
    #[error("body was not encrypted with this key, or was changed")]
    Authentication,
    #[error("encryption failed")]
    Encrypt,
}

/// Encrypts outgoing and decrypts incoming bodies. Called for non-empty bodies only, on the connection's task, so
/// an implementation must not block.
pub trait MessageCrypto: Send + Sync {
    /// Gives the bytes to put on the wire.
    fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>, CryptoError>;
    /// Gives back what `encrypt` was given.
    fn decrypt(&self, envelope: &[u8]) -> Result<Vec<u8>, CryptoError>;
}

enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes192(Box<AesGcm<Aes192, U12>>),
    Aes256(Box<Aes256Gcm>),
}

/// AES-GCM with the envelope `0x01 | nonce (12) | tag (16) | ciphertext`; an empty body stays empty.
pub struct AesGcmMessageCrypto(Cipher);

impl AesGcmMessageCrypto {
    /// Takes a key of 16, 24 or 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self, CryptoError> {
        let bad = |_| CryptoError::KeyLength;
        let cipher = match key.len() {
            16 => Cipher::Aes128(Box::new(Aes128Gcm::new_from_slice(key).map_err(bad)?)),
            24 => Cipher::Aes192(Box::new(AesGcm::new_from_slice(key).map_err(bad)?)),
            32 => Cipher::Aes256(Box::new(Aes256Gcm::new_from_slice(key).map_err(bad)?)),
            _ => return Err(CryptoError::KeyLength),
        };
        Ok(Self(cipher))
    }

    fn seal(&self, nonce: &[u8; NONCE], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut out = vec![0; HEADER + plaintext.len()];
        out[0] = VERSION;
        out[1..=NONCE].copy_from_slice(nonce);
        let (header, text) = out.split_at_mut(HEADER);
        text.copy_from_slice(plaintext);
        let tag = match &self.0 {
            Cipher::Aes128(c) => c.encrypt_in_place_detached(nonce.into(), b"", text),
            Cipher::Aes192(c) => c.encrypt_in_place_detached(nonce.into(), b"", text),
            Cipher::Aes256(c) => c.encrypt_in_place_detached(nonce.into(), b"", text),
        };
        header[1 + NONCE..].copy_from_slice(&tag.map_err(|_| CryptoError::Encrypt)?);
        Ok(out)
    }
}

impl MessageCrypto for AesGcmMessageCrypto {
    fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if plaintext.is_empty() {
            return Ok(Vec::new());
        }
        let mut nonce = [0; NONCE];
        OsRng.try_fill_bytes(&mut nonce).map_err(|_| CryptoError::Encrypt)?;
        self.seal(&nonce, plaintext)
    }

    fn decrypt(&self, envelope: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if envelope.is_empty() {
            return Ok(Vec::new());
        }
        if envelope.len() < HEADER || envelope[0] != VERSION {
            return Err(CryptoError::Envelope);
        }
        let (nonce, tag) = (&envelope[1..=NONCE], &envelope[1 + NONCE..HEADER]);
        let mut text = envelope[HEADER..].to_vec();
        match &self.0 {
            Cipher::Aes128(c) => c.decrypt_in_place_detached(nonce.into(), b"", &mut text, tag.into()),
            Cipher::Aes192(c) => c.decrypt_in_place_detached(nonce.into(), b"", &mut text, tag.into()),
            Cipher::Aes256(c) => c.decrypt_in_place_detached(nonce.into(), b"", &mut text, tag.into()),
        }
        .map_err(|_| CryptoError::Authentication)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE_HEX: &str = "000102030405060708090a0b";
    /// Key length in bytes (the key counts up from 00) and the envelope of "hello mics".
    const VECTORS: [(u8, &str); 3] = [
        (16, "01000102030405060708090a0be9fc7a459abd0f59692fdfb77fe5ad61fb09cba2093b9a3d28a1"),
        (24, "01000102030405060708090a0b43573f88ef168f2836b7d286d47658e28e9c4ef7f699a467b340"),
        (32, "01000102030405060708090a0b74b00e5755b8fc888d3e3accda87265b2f67ba77aac5af72ee32"),
    ];

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    fn crypto(len: u8) -> AesGcmMessageCrypto {
        AesGcmMessageCrypto::new(&(0..len).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn envelopes_equal_the_shared_vectors() {
        let nonce: [u8; NONCE] = unhex(NONCE_HEX).try_into().unwrap();
        for (len, envelope) in VECTORS {
            assert_eq!(crypto(len).seal(&nonce, b"hello mics").unwrap(), unhex(envelope), "AES-{}", u32::from(len) * 8);
            assert_eq!(crypto(len).decrypt(&unhex(envelope)).unwrap(), b"hello mics");
        }
    }

    #[test]
    fn every_envelope_has_its_own_nonce_and_opens_again() {
        let crypto = crypto(32);
        let (a, b) = (crypto.encrypt(b"x").unwrap(), crypto.encrypt(b"x").unwrap());
        assert_ne!(a[1..=NONCE], b[1..=NONCE]);
        assert_eq!(crypto.decrypt(&a).unwrap(), b"x");
        assert_eq!(crypto.encrypt(b"").unwrap(), b"");
        assert_eq!(crypto.decrypt(b"").unwrap(), b"");
    }

    #[test]
    fn the_shortest_envelope_holds_an_empty_body() {
        for len in [16, 24, 32] {
            let envelope = crypto(len).seal(&[7; NONCE], b"").unwrap();
            assert_eq!(envelope.len(), 29);
            assert_eq!(crypto(len).decrypt(&envelope).unwrap(), b"");
        }
    }

    #[test]
    fn wrong_keys_versions_lengths_and_changed_bytes_are_refused() {
        for len in [0, 15, 31, 33] {
            assert_eq!(AesGcmMessageCrypto::new(&vec![0; len]).err(), Some(CryptoError::KeyLength), "{len}");
        }
        let good = crypto(16).encrypt(b"body").unwrap();
        let mut version = good.clone();
        version[0] = 2;
        assert_eq!(crypto(16).decrypt(&version), Err(CryptoError::Envelope));
        assert_eq!(crypto(16).decrypt(&good[..HEADER - 1]), Err(CryptoError::Envelope));
        assert_eq!(crypto(16).decrypt(&good[..HEADER]), Err(CryptoError::Authentication));
        let mut changed = good.clone();
        changed[HEADER] ^= 1;
        assert_eq!(crypto(16).decrypt(&changed), Err(CryptoError::Authentication));
        assert_eq!(crypto(32).decrypt(&good), Err(CryptoError::Authentication));
    }
}
