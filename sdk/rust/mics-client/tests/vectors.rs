//! Frames, envelopes and close codes against the shared vectors in `proto/vectors`.

use std::path::Path;

use mics_client::{
    AckStatus, AesGcmMessageCrypto, CloseAction, MessageCrypto, MessageRequest, MessageType, close_action,
};
use mics_proto::message::{ClientFrame, HeartbeatPing, ServerFrame, client_frame, server_frame::Payload};
use mics_proto::prost::Message;
use serde_json::Value;

fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../proto/vectors").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn rows<'a>(file: &'a Value, key: &str) -> &'a Vec<Value> {
    file[key].as_array().filter(|rows| !rows.is_empty()).unwrap_or_else(|| panic!("no {key}"))
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap_or_else(|| panic!("{key} in {v}"))
}

fn bytes(v: &Value, key: &str) -> Vec<u8> {
    let hex = text(v, key);
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn message(v: &Value) -> MessageRequest {
    MessageRequest {
        tenant_id: text(v, "tenant_id").into(),
        user_id: text(v, "user_id").into(),
        device_id: text(v, "device_id").into(),
        msg_id: text(v, "msg_id").into(),
        msg_type: MessageType::from_str_name(text(v, "msg_type")).unwrap().into(),
        to_user_id: text(v, "to_user_id").into(),
        group_id: text(v, "group_id").into(),
        msg_body: bytes(v, "msg_body_hex").into(),
        timestamp_ms: v["timestamp_ms"].as_i64().unwrap(),
    }
}

/// What a decoded frame says equals the fields of the vector.
fn assert_read(name: &str, payload: Option<Payload>, v: &Value) {
    let f = &v["fields"];
    match (payload, v["payload"].as_str()) {
        (None, None) => {}
        (Some(Payload::Delivery(delivery)), Some("delivery")) => {
            assert_eq!(delivery.message.unwrap(), message(&f["message"]), "{name}");
        }
        (Some(Payload::Ack(ack)), Some("ack")) => {
            let number = f["status"].as_i64().map(|status| status as i32);
            let status = number.unwrap_or_else(|| AckStatus::from_str_name(text(f, "status")).unwrap().into());
            assert_eq!(
                (ack.status, ack.msg_id.as_str(), ack.reason.as_str()),
                (status, text(f, "msg_id"), text(f, "reason")),
                "{name}"
            );
            let counts = [ack.offline_notified_users, ack.offline_buffered_users, ack.offline_skipped_users];
            let names = ["offline_notified_users", "offline_buffered_users", "offline_skipped_users"];
            assert_eq!(counts.map(u64::from), names.map(|n| f[n].as_u64().unwrap()), "{name}");
        }
        (Some(Payload::ConnectAck(ack)), Some("connect_ack")) => {
            assert_eq!(
                (i64::from(ack.code), ack.user_id.as_str()),
                (f["code"].as_i64().unwrap(), text(f, "user_id")),
                "{name}"
            );
        }
        (Some(Payload::Error(e)), Some("error")) => {
            assert_eq!(
                (i64::from(e.code), e.message.as_str()),
                (f["code"].as_i64().unwrap(), text(f, "message")),
                "{name}"
            );
        }
        (Some(Payload::HeartbeatPong(pong)), Some("heartbeat_pong")) => {
            assert_eq!(pong.timestamp_ms, f["timestamp_ms"].as_i64().unwrap(), "{name}");
        }
        (read, want) => panic!("{name}: read {read:?}, not {want:?}"),
    }
}

#[test]
fn frames_are_written_and_read_as_in_the_vectors() {
    for file in ["frames.json", "frames-more.json"] {
        for v in rows(&load(file), "vectors") {
            let (name, wire) = (text(v, "name"), bytes(v, "hex"));
            match text(v, "type") {
                "ClientFrame" => {
                    let payload = match text(v, "payload") {
                        "message" => client_frame::Payload::Message(message(&v["fields"])),
                        _ => client_frame::Payload::HeartbeatPing(HeartbeatPing {
                            timestamp_ms: v["fields"]["timestamp_ms"].as_i64().unwrap(),
                        }),
                    };
                    assert_eq!(ClientFrame { payload: Some(payload) }.encode_to_vec(), wire, "{name}");
                }
                "ServerFrame" => {
                    let frame = ServerFrame::decode(&*wire).unwrap_or_else(|e| panic!("{name}: {e}"));
                    if v.get("decode_only").is_none() {
                        assert_eq!(frame.encode_to_vec(), wire, "{name}");
                    }
                    assert_read(name, frame.payload, v);
                }
                // The tenant's config is not for clients.
                _ => {}
            }
        }
    }
}

#[test]
fn envelopes_open_or_are_refused_as_in_the_vectors() {
    let file = load("envelopes.json");
    let crypto = |v| AesGcmMessageCrypto::new(&bytes(v, "key_hex")).unwrap();
    for v in rows(&file, "vectors") {
        assert_eq!(
            crypto(v).decrypt(&bytes(v, "envelope_hex")).unwrap(),
            bytes(v, "plaintext_hex"),
            "{}",
            text(v, "name")
        );
    }
    for v in rows(&file, "rejected") {
        assert!(crypto(v).decrypt(&bytes(v, "envelope_hex")).is_err(), "{}", text(v, "name"));
    }
}

#[test]
fn close_codes_lead_to_what_the_vectors_say() {
    for v in rows(&load("close-codes.json"), "close") {
        let want = match v["client"].as_str() {
            Some("stop") => CloseAction::Stop,
            Some("retry") => CloseAction::Retry,
            Some("retry_later") => CloseAction::RetryLater,
            _ => continue,
        };
        let code = v["code"].as_u64().unwrap() as u16;
        assert_eq!(close_action(code), want, "{code} {}", text(v, "name"));
    }
}
