//! Secrets that travel in URLs: made here, compared here, never printed.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A new token: UUIDv4 as 32 lower-case hex digits.
pub fn new_token() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// 32 random bytes as 64 lower-case hex digits, for sessions and pairing secrets.
pub fn new_secret() -> String {
    let bytes: [u8; 32] = rand::random();
    hex(&bytes)
}

pub fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Whether two secrets are equal, in time that depends on neither of them.
pub fn same_secret(left: &str, right: &str) -> bool {
    is_secret_of(left, &sha256(right))
}

/// The same for a secret of which only the hash is known.
pub fn is_secret_of(secret: &str, hash: &[u8; 32]) -> bool {
    sha256(secret).ct_eq(hash).into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
