//! Signatures of hook requests and of events, made and checked byte by byte as the gateway does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use mics_proto::hook::HookMeta;
use mics_proto::wire;
use sha2::Sha256;

const META: u64 = 1;
const META_SIGN: u64 = 4;
const EVENT_SIGN: u64 = 11;

fn mac(secret: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

fn verify(secret: &str, parts: &[&[u8]], sign: &str) -> bool {
    STANDARD.decode(sign).is_ok_and(|given| mac(secret, parts).verify_slice(&given).is_ok())
}

/// Signature of a hook request: base64 of HMAC-SHA256 over `cleared` (the request without `meta.sign`), the request id
/// and the time (Unix ms) as 8 little-endian bytes.
pub fn request_sign(secret: &str, cleared: &[u8], request_id: &str, timestamp_ms: i64) -> String {
    let parts: [&[u8]; 3] = [cleared, request_id.as_bytes(), &timestamp_ms.to_le_bytes()];
    STANDARD.encode(mac(secret, &parts).finalize().into_bytes())
}

/// True when `meta.sign` is the signature of `body`, the request as received. `meta` is the decoded one of `body`.
pub fn verify_request(secret: &str, body: &[u8], meta: &HookMeta) -> bool {
    let Some(cleared) = wire::without_nested_field(body, META, META_SIGN) else { return false };
    let parts: [&[u8]; 3] = [&cleared, meta.request_id.as_bytes(), &meta.timestamp_ms.to_le_bytes()];
    verify(secret, &parts, &meta.sign)
}

/// Signature of an event: base64 of HMAC-SHA256 over the event without field 11.
pub fn event_sign(secret: &str, cleared: &[u8]) -> String {
    STANDARD.encode(mac(secret, &[cleared]).finalize().into_bytes())
}

/// True when `sign` (field 11 of the event) is the signature of `value`, the record as received.
pub fn verify_event(secret: &str, value: &[u8], sign: &str) -> bool {
    wire::without_field(value, EVENT_SIGN).is_some_and(|cleared| verify(secret, &[&cleared], sign))
}
