//! Signatures of hook requests and of events, byte by byte as the hook SDKs verify them. Must not know transport.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use mics_domain::event::Event;
use mics_domain::tenant::Secret;
use mics_proto::hook::{HookMeta, MqEvent};
use mics_proto::prost::Message;
use mics_proto::wire;
use sha2::Sha256;

const META_FIELD: u64 = 1;
const META_SIGN_FIELD: u64 = 4;

/// HMAC-SHA256 over the parts, one after the other.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

/// The same, finished and in base64.
pub(crate) fn sign(key: &[u8], parts: &[&[u8]]) -> String {
    STANDARD.encode(mac(key, parts).finalize().into_bytes())
}

/// Signature of a hook request: base64 of HMAC-SHA256 over `cleared` (the canonical request with an empty
/// `meta.sign`), the request id and the time (Unix ms) as 8 little-endian bytes.
pub fn request_sign(key: &[u8], cleared: &[u8], request_id: &str, timestamp_ms: i64) -> String {
    sign(key, &[cleared, request_id.as_bytes(), &timestamp_ms.to_le_bytes()])
}

/// Signature of an event: base64 of HMAC-SHA256 over the canonical event without field 11.
pub fn event_sign(key: &[u8], cleared: &[u8]) -> String {
    sign(key, &[cleared])
}

/// The record value of an event: `MqEvent` bytes, signed unless the event's secret is blank.
pub fn event_bytes(event: &Event, node_id: &str) -> Vec<u8> {
    let mut record = MqEvent {
        tenant_id: event.tenant.to_string(),
        event_type: event.kind.number(),
        msg_id: event.msg_id.clone(),
        user_id: event.user.to_string(),
        device_id: event.device.to_string(),
        to_user_id: event.to_user.clone(),
        group_id: event.group.clone(),
        event_data: event.data.clone(),
        timestamp: event.at_ms,
        node_id: node_id.to_owned(),
        sign: String::new(),
        trace_id: event.trace_id.clone(),
    };
    let cleared = record.encode_to_vec();
    let Some(key) = event.secret.key() else { return cleared };
    record.sign = event_sign(key, &cleared);
    record.encode_to_vec()
}

/// A hook request, whose meta carries the signature.
pub trait HookRequest: Message + Default {
    fn meta(&self) -> Option<&HookMeta>;
    fn meta_mut(&mut self) -> Option<&mut HookMeta>;
}

macro_rules! hook_request {
    ($($name:ident),*) => {$(
        impl HookRequest for mics_proto::hook::$name {
            fn meta(&self) -> Option<&HookMeta> {
                self.meta.as_ref()
            }
            fn meta_mut(&mut self) -> Option<&mut HookMeta> {
                self.meta.as_mut()
            }
        }
    )*};
}
hook_request!(AuthRequest, CheckMessageRequest, GetGroupMembersRequest, GetOfflineMessagesRequest);

/// The bytes to send: signed when there is a key and a meta, unsigned otherwise. `meta.sign` must be empty.
pub fn signed_bytes(mut request: impl HookRequest, secret: &Secret) -> Vec<u8> {
    let cleared = request.encode_to_vec();
    let (Some(key), Some(meta)) = (secret.key(), request.meta_mut()) else { return cleared };
    meta.sign = request_sign(key, &cleared, &meta.request_id, meta.timestamp_ms);
    request.encode_to_vec()
}

/// True when `meta.sign` is the signature of `body`, the request as received. Fields that this version does not know
/// do not disturb, because the received bytes are checked and not a re-encoding.
pub fn verify_request(key: &[u8], body: &[u8], meta: &HookMeta) -> bool {
    let (Ok(given), Some(cleared)) = (STANDARD.decode(&meta.sign), without_sign(body)) else { return false };
    let parts: [&[u8]; 3] = [&cleared, meta.request_id.as_bytes(), &meta.timestamp_ms.to_le_bytes()];
    mac(key, &parts).verify_slice(&given).is_ok()
}

/// A request's wire bytes without `meta.sign`, everything else as it came; `None` when they are no protobuf.
pub fn without_sign(body: &[u8]) -> Option<Vec<u8>> {
    wire::without_nested_field(body, META_FIELD, META_SIGN_FIELD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mics_proto::hook::AuthRequest;

    fn request() -> AuthRequest {
        let meta = HookMeta {
            tenant_id: "t1".into(),
            request_id: "r1".into(),
            timestamp_ms: 123,
            sign: String::new(),
            trace_id: "tr1".into(),
        };
        AuthRequest { meta: Some(meta), token: "valid:u1".into(), device_id: "d1".into() }
    }

    fn verifies(key: &[u8], body: &[u8]) -> bool {
        verify_request(key, body, &AuthRequest::decode(body).unwrap().meta.unwrap())
    }

    #[test]
    fn a_signed_request_verifies_and_a_changed_one_does_not() {
        let sent = signed_bytes(request(), &Secret::new("secret"));
        assert_eq!(without_sign(&sent).unwrap(), request().encode_to_vec());
        assert!(verifies(b"secret", &sent));
        assert!(!verifies(b"other", &sent));
        let mut changed = AuthRequest::decode(&*sent).unwrap();
        changed.device_id = "d2".into();
        assert!(!verifies(b"secret", &changed.encode_to_vec()));
    }

    #[test]
    fn a_blank_secret_leaves_the_request_unsigned() {
        for blank in ["", " \t"] {
            assert_eq!(signed_bytes(request(), &Secret::new(blank)), request().encode_to_vec());
        }
    }

    #[test]
    fn unknown_fields_are_covered_and_do_not_disturb() {
        let extra = [0xa2, 0x06, 0x01, b'x']; // field 100, one byte
        let mut cleared = request().encode_to_vec();
        cleared.extend(extra);
        let mut signed = request();
        signed.meta.as_mut().unwrap().sign = request_sign(b"secret", &cleared, "r1", 123);
        let mut sent = signed.encode_to_vec();
        assert!(!verifies(b"secret", &sent));
        sent.extend(extra);
        assert!(verifies(b"secret", &sent));
    }

    #[test]
    fn non_canonical_base64_is_refused() {
        let sent = AuthRequest::decode(&*signed_bytes(request(), &Secret::new("secret"))).unwrap();
        let sign = sent.meta.as_ref().unwrap().sign.clone();
        for wrong in [sign.trim_end_matches('=').to_owned(), format!(" {sign}"), format!("{sign}\n")] {
            let mut bad = sent.clone();
            bad.meta.as_mut().unwrap().sign = wrong;
            assert!(!verifies(b"secret", &bad.encode_to_vec()));
        }
    }

    #[test]
    fn broken_bytes_are_no_request() {
        for broken in [&[0x0a, 0x05, 1][..], &[0x0a], &[0x0b], &[0x80; 11], &[0x09, 1]] {
            assert_eq!(without_sign(broken), None);
        }
        assert_eq!(without_sign(&[]), Some(Vec::new()));
    }
}
