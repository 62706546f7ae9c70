//! Signatures and events against the shared vectors in `proto/vectors`.

use std::path::Path;

use mics_hook::event::{self, EventData, EventError};
use mics_hook::mics_proto::prost::Message;
use mics_hook::{AuthRequest, CheckMessageRequest, GetGroupMembersRequest, GetOfflineMessagesRequest, HookMeta, sign};
use serde_json::Value;

fn vectors(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../proto/vectors").join(name);
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let found = file["vectors"].as_array().unwrap().clone();
    assert!(!found.is_empty(), "{name}");
    found
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap_or_else(|| panic!("{key} in {v}"))
}

fn bytes(v: &Value, key: &str) -> Vec<u8> {
    let hex = text(v, key);
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn meta_of(kind: &str, body: &[u8]) -> Option<HookMeta> {
    match kind {
        "AuthRequest" => AuthRequest::decode(body).ok()?.meta,
        "CheckMessageRequest" => CheckMessageRequest::decode(body).ok()?.meta,
        "GetGroupMembersRequest" => GetGroupMembersRequest::decode(body).ok()?.meta,
        "GetOfflineMessagesRequest" => GetOfflineMessagesRequest::decode(body).ok()?.meta,
        other => panic!("unknown type {other}"),
    }
}

#[test]
fn requests_are_signed_and_verified_as_in_the_vectors() {
    for v in vectors("hook-signatures.json") {
        let (name, key, m) = (text(&v, "name"), text(&v, "key"), &v["meta"]);
        let (id, at) = (text(m, "request_id"), m["timestamp_ms"].as_i64().unwrap());
        assert_eq!(sign::request_sign(key, &bytes(&v, "cleared_hex"), id, at), text(&v, "sign"), "{name}");
        if v.get("sent_hex").is_none() {
            continue;
        }
        let sent = bytes(&v, "sent_hex");
        let meta = meta_of(text(&v, "type"), &sent).unwrap();
        assert!(sign::verify_request(key, &sent, &meta), "{name}");
        assert!(!sign::verify_request("another key", &sent, &meta), "{name}");
        for at in 0..sent.len() {
            let mut changed = sent.clone();
            changed[at] ^= 1;
            let meta = meta_of(text(&v, "type"), &changed);
            assert!(!meta.is_some_and(|meta| sign::verify_request(key, &changed, &meta)), "{name}: byte {at} changed");
        }
    }
}

#[test]
fn received_requests_are_judged_as_in_the_vectors() {
    for v in vectors("hook-requests.json") {
        let received = bytes(&v, "body_hex");
        let valid = meta_of(text(&v, "type"), &received)
            .is_some_and(|meta| sign::verify_request(text(&v, "key"), &received, &meta));
        assert_eq!(valid, v["valid"].as_bool().unwrap(), "{}", text(&v, "name"));
    }
}

#[test]
fn events_are_verified_and_read_as_in_the_vectors() {
    for file in ["event-signatures.json", "event-records.json"] {
        for v in vectors(file) {
            let (name, key, sent) = (text(&v, "name"), text(&v, "key"), bytes(&v, "sent_hex"));
            let valid = v.get("valid").is_none_or(|valid| valid.as_bool().unwrap());
            let read = event::verify("t1", Some(key), true, &sent);
            let Ok((event, data)) = read else {
                assert!(!valid, "{name}: {read:?}");
                continue;
            };
            assert!(valid, "{name}");
            let kind = text(&v["fields"], "event_type");
            let right = match (kind, data) {
                ("CONNECT_ONLINE", EventData::Online(ack)) | ("CONNECT_OFFLINE", EventData::Offline(ack)) => {
                    ack.code == 1000 && ack.user_id == event.user_id
                }
                ("SINGLE_CHAT_MSG" | "GROUP_CHAT_MSG", EventData::Chat(m)) => m.msg_id == event.msg_id,
                ("OFFLINE_MESSAGE", EventData::OfflineMessage(m)) => m.msg_id == event.msg_id,
                _ => false,
            };
            assert!(right, "{name}");
            assert_eq!(event::verify("t1", Some("other"), true, &sent), Err(EventError::Sign), "{name}");
            assert_eq!(event::verify("t2", Some(key), true, &sent), Err(EventError::Tenant), "{name}");
        }
    }
}
