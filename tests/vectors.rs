//! Our code against the shared vectors in `proto/vectors`. Must not compute what it compares with.

use std::path::Path;

use bytes::Bytes;
use mics::hooks::{codec, sign};
use mics_domain::codes::{Close, FrameError};
use mics_domain::event::{Event, EventType};
use mics_domain::message::{Kind, Message as ChatMessage};
use mics_domain::ports::{HookTarget, MembersQuestion};
use mics_domain::rendezvous;
use mics_domain::tenant::Secret;
use mics_proto::hook::{
    AuthRequest, CheckMessageRequest, GetGroupMembersRequest, HookMeta, MqEvent, TenantRuntimeConfig,
};
use mics_proto::message::{
    AckStatus, ClientFrame, ConnectAck, HeartbeatPing, HeartbeatPong, MessageAck, MessageDelivery, MessageRequest,
    MessageType, ServerError, ServerFrame, client_frame, server_frame,
};
use mics_proto::prost::Message;
use serde_json::Value;

fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors").join(name);
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn vectors(file: &Value) -> &[Value] {
    file["vectors"].as_array().unwrap()
}

/// A field that must be there as text.
fn text(v: &Value, key: &str) -> String {
    v[key].as_str().unwrap_or_else(|| panic!("{key} in {v}")).to_owned()
}

fn int(v: &Value, key: &str) -> i64 {
    v[key].as_i64().unwrap_or_else(|| panic!("{key} in {v}"))
}

fn int32(v: &Value, key: &str) -> i32 {
    int(v, key).try_into().unwrap()
}

fn flag(v: &Value, key: &str) -> bool {
    v[key].as_bool().unwrap_or_else(|| panic!("{key} in {v}"))
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn message_request(v: &Value) -> MessageRequest {
    MessageRequest {
        tenant_id: text(v, "tenant_id"),
        user_id: text(v, "user_id"),
        device_id: text(v, "device_id"),
        msg_id: text(v, "msg_id"),
        msg_type: MessageType::from_str_name(&text(v, "msg_type")).unwrap() as i32,
        to_user_id: text(v, "to_user_id"),
        group_id: text(v, "group_id"),
        msg_body: unhex(&text(v, "msg_body_hex")).into(),
        timestamp_ms: int(v, "timestamp_ms"),
    }
}

fn domain_message(v: &Value) -> ChatMessage {
    ChatMessage {
        tenant: text(v, "tenant_id").into(),
        user: text(v, "user_id").into(),
        device: text(v, "device_id").into(),
        msg_id: text(v, "msg_id"),
        kind: if text(v, "msg_type") == "GROUP_CHAT" { Kind::Group } else { Kind::Single },
        to_user: text(v, "to_user_id"),
        group: text(v, "group_id"),
        body: unhex(&text(v, "msg_body_hex")).into(),
        timestamp_ms: int(v, "timestamp_ms"),
        unknown_fields: Bytes::from_static(&[0xa2, 0x06, 0x01, b'x']),
    }
}

fn message_ack(f: &Value) -> MessageAck {
    MessageAck {
        msg_id: text(f, "msg_id"),
        status: AckStatus::from_str_name(&text(f, "status")).unwrap() as i32,
        timestamp_ms: int(f, "timestamp_ms"),
        reason: text(f, "reason"),
        partial_delivery: flag(f, "partial_delivery"),
        offline_notified_users: int(f, "offline_notified_users").try_into().unwrap(),
        offline_buffered_users: int(f, "offline_buffered_users").try_into().unwrap(),
        offline_skipped_users: int(f, "offline_skipped_users").try_into().unwrap(),
    }
}

fn client_frame(payload: &str, f: &Value) -> ClientFrame {
    let payload = match payload {
        "message" => client_frame::Payload::Message(message_request(f)),
        "heartbeat_ping" => {
            client_frame::Payload::HeartbeatPing(HeartbeatPing { timestamp_ms: int(f, "timestamp_ms") })
        }
        other => panic!("unknown payload {other}"),
    };
    ClientFrame { payload: Some(payload) }
}

fn server_frame(payload: &str, f: &Value) -> ServerFrame {
    let payload = match payload {
        "connect_ack" => server_frame::Payload::ConnectAck(ConnectAck {
            code: int32(f, "code"),
            tenant_id: text(f, "tenant_id"),
            user_id: text(f, "user_id"),
            device_id: text(f, "device_id"),
            node_id: text(f, "node_id"),
            trace_id: text(f, "trace_id"),
        }),
        "delivery" => {
            server_frame::Payload::Delivery(MessageDelivery { message: Some(message_request(&f["message"])) })
        }
        "ack" => server_frame::Payload::Ack(message_ack(f)),
        "error" => server_frame::Payload::Error(ServerError { code: int32(f, "code"), message: text(f, "message") }),
        "heartbeat_pong" => {
            server_frame::Payload::HeartbeatPong(HeartbeatPong { timestamp_ms: int(f, "timestamp_ms") })
        }
        other => panic!("unknown payload {other}"),
    };
    ServerFrame { payload: Some(payload) }
}

fn tenant_config(f: &Value) -> TenantRuntimeConfig {
    TenantRuntimeConfig {
        hook_base_url: text(f, "hook_base_url"),
        heartbeat_timeout_seconds: int32(f, "heartbeat_timeout_seconds"),
        offline_buffer_ttl_seconds: int32(f, "offline_buffer_ttl_seconds"),
        tenant_max_connections: int32(f, "tenant_max_connections"),
        user_max_connections: int32(f, "user_max_connections"),
        tenant_max_message_qps: int32(f, "tenant_max_message_qps"),
        tenant_secret: text(f, "tenant_secret"),
        hook_max_concurrency: Some(int32(f, "hook_max_concurrency")),
        hook_queue_timeout_ms: Some(int32(f, "hook_queue_timeout_ms")),
        hook_breaker_failure_threshold: Some(int32(f, "hook_breaker_failure_threshold")),
        hook_breaker_open_ms: Some(int32(f, "hook_breaker_open_ms")),
        hook_sign_required: Some(flag(f, "hook_sign_required")),
        offline_use_hook_pull: Some(flag(f, "offline_use_hook_pull")),
        group_cache_ttl_seconds: None,
        group_page_size: None,
    }
}

/// `message` encodes to the bytes and the bytes decode to it.
fn assert_both_ways<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, message: &M, want: &str) {
    assert_eq!(hex(&message.encode_to_vec()), want, "{name}");
    assert_eq!(&M::decode(&*unhex(want)).unwrap(), message, "{name}");
}

#[test]
fn frames_encode_and_decode_as_in_the_vectors() {
    let file = load("frames.json");
    assert_eq!(vectors(&file).len(), 12);
    for v in vectors(&file) {
        let (name, want, fields) = (text(v, "name"), text(v, "hex"), &v["fields"]);
        match text(v, "type").as_str() {
            "ClientFrame" => assert_both_ways(&name, &client_frame(&text(v, "payload"), fields), &want),
            "ServerFrame" => assert_both_ways(&name, &server_frame(&text(v, "payload"), fields), &want),
            "TenantRuntimeConfig" => assert_both_ways(&name, &tenant_config(fields), &want),
            other => panic!("unknown type {other}"),
        }
    }
}

fn target(v: &Value) -> HookTarget {
    HookTarget {
        tenant: text(&v["meta"], "tenant_id").into(),
        base_url: String::new(),
        secret: Secret::new(&text(v, "key")),
        trace_id: text(&v["meta"], "trace_id"),
        trace: None,
    }
}

/// The request's unsigned and signed bytes, made by the code that makes them in the gateway.
fn hook_request(v: &Value, meta: HookMeta, secret: &Secret) -> [Vec<u8>; 2] {
    fn both(request: impl sign::HookRequest + Clone, secret: &Secret) -> [Vec<u8>; 2] {
        [request.encode_to_vec(), sign::signed_bytes(request, secret)]
    }
    let (f, some) = (&v["fields"], Some(meta.clone()));
    match text(v, "type").as_str() {
        "AuthRequest" => {
            both(AuthRequest { meta: some, token: text(f, "token"), device_id: text(f, "device_id") }, secret)
        }
        "CheckMessageRequest" => {
            let message = Some(mics_actors::encode::request(&domain_message(&f["message"])));
            both(CheckMessageRequest { meta: some, message }, secret)
        }
        "GetGroupMembersRequest" => {
            let question = MembersQuestion { group: text(f, "group_id"), ..Default::default() };
            both(codec::members_request(meta, &question), secret)
        }
        "GetOfflineMessagesRequest" => {
            let max = int(f, "max_messages").try_into().unwrap();
            both(
                codec::offline_request(meta, &text(f, "user_id"), &text(f, "device_id"), max, &text(f, "cursor")),
                secret,
            )
        }
        other => panic!("unknown type {other}"),
    }
}

/// Meta is field 1 of every hook request.
fn meta_of(body: &[u8]) -> HookMeta {
    AuthRequest::decode(body)
        .map(|request| request.meta.unwrap())
        .unwrap_or_else(|_| GetGroupMembersRequest::decode(body).unwrap().meta.unwrap())
}

#[test]
fn hook_requests_are_signed_as_in_the_vectors() {
    let file = load("hook-signatures.json");
    assert_eq!(vectors(&file).len(), 8);
    for v in vectors(&file) {
        let (name, key, m) = (text(v, "name"), text(v, "key"), &v["meta"]);
        let meta = codec::meta(&target(v), text(m, "request_id"), int(m, "timestamp_ms"));
        let [cleared, sent] = hook_request(v, meta.clone(), &Secret::new(&key));
        assert_eq!(hex(&cleared), text(v, "cleared_hex"), "{name}");
        let suffix = [meta.request_id.as_bytes(), &meta.timestamp_ms.to_le_bytes()].concat();
        assert_eq!(hex(&suffix), text(v, "suffix_hex"), "{name}");
        let made = sign::request_sign(key.as_bytes(), &cleared, &meta.request_id, meta.timestamp_ms);
        assert_eq!(made, text(v, "sign"), "{name}");
        if v.get("sent_hex").is_some() {
            assert_eq!(hex(&sent), text(v, "sent_hex"), "{name}");
        }
        assert_eq!(sign::without_sign(&sent).unwrap(), cleared, "{name}");
        let signed = HookMeta { sign: made, ..meta };
        assert!(sign::verify_request(key.as_bytes(), &sent, &signed), "{name}");
        assert!(!sign::verify_request(b"another key", &sent, &signed), "{name}");
        if text(v, "type") == "AuthRequest" {
            assert_eq!(meta_of(&sent), signed, "{name}");
        }
    }
}

fn event(v: &Value, secret: &str) -> Event {
    let f = &v["fields"];
    let kind = match text(f, "event_type").as_str() {
        "CONNECT_ONLINE" => EventType::ConnectOnline,
        "CONNECT_OFFLINE" => EventType::ConnectOffline,
        "SINGLE_CHAT_MSG" => EventType::SingleChatMsg,
        "GROUP_CHAT_MSG" => EventType::GroupChatMsg,
        "OFFLINE_MESSAGE" => EventType::OfflineMessage,
        other => panic!("unknown event {other}"),
    };
    Event {
        tenant: text(f, "tenant_id").into(),
        kind,
        msg_id: text(f, "msg_id"),
        user: text(f, "user_id").into(),
        device: text(f, "device_id").into(),
        to_user: text(f, "to_user_id"),
        group: text(f, "group_id"),
        data: unhex(&text(f, "event_data_hex")).into(),
        at_ms: int(f, "timestamp"),
        trace_id: text(f, "trace_id"),
        secret: Secret::new(secret),
        trace: None,
    }
}

#[test]
fn events_are_signed_as_in_the_vectors() {
    let file = load("event-signatures.json");
    assert_eq!(vectors(&file).len(), 5);
    for v in vectors(&file) {
        let (name, node) = (text(v, "name"), text(&v["fields"], "node_id"));
        let unsigned = sign::event_bytes(&event(v, " "), &node);
        assert_eq!(hex(&unsigned), text(v, "signed_hex"), "{name}");
        assert_eq!(sign::event_sign(text(v, "key").as_bytes(), &unsigned), text(v, "sign"), "{name}");
        let sent = sign::event_bytes(&event(v, &text(v, "key")), &node);
        assert_eq!(hex(&sent), text(v, "sent_hex"), "{name}");
        assert_eq!(MqEvent::decode(&*sent).unwrap().sign, text(v, "sign"), "{name}");
    }
}

#[test]
fn home_nodes_are_those_of_the_vectors() {
    let file = load("rendezvous.json");
    let nodes: Vec<String> = file["nodes"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().into()).collect();
    assert_eq!(vectors(&file).len(), 8);
    for v in vectors(&file) {
        let (tenant, user) = (text(v, "tenant"), text(v, "user"));
        let (first, second) = rendezvous::ranked2(&tenant, &user, &nodes);
        assert_eq!(nodes[first.unwrap()], text(v, "winner"), "{tenant}/{user}");
        assert_eq!(nodes[second.unwrap()], text(v, "second"), "{tenant}/{user}");
        let left: Vec<_> = nodes.iter().filter(|node| **node != text(v, "winner")).collect();
        let home = rendezvous::home(&tenant, &user, &left).unwrap();
        assert_eq!(*left[home], text(v, "second"), "{tenant}/{user} after its home left");
    }
}

#[test]
fn home_nodes_are_spread_as_in_the_vectors() {
    let file = load("rendezvous.json");
    let spread = &file["distribution"];
    let homes = |users: usize, nodes: &[String]| -> Vec<usize> {
        (0..users).map(|u| rendezvous::home("t1", &format!("u{u}"), nodes).unwrap()).collect()
    };
    let named = |n: usize| (1..=n).map(|i| format!("n{i}")).collect::<Vec<_>>();
    let count = |homes: &[usize], nodes: usize| -> Vec<i64> {
        (0..nodes).map(|node| homes.iter().filter(|home| **home == node).count().try_into().unwrap()).collect()
    };

    let three = count(&homes(3000, &named(3)), 3);
    let want = &spread[0]["counts"];
    assert_eq!(three, [int(want, "n1"), int(want, "n2"), int(want, "n3")]);

    let (before, after) = (homes(1000, &named(3)), homes(1000, &named(4)));
    let moved = before.iter().zip(&after).filter(|(b, a)| b != a).count();
    assert_eq!(i64::try_from(moved).unwrap(), int(&spread[1], "moved"));
    assert!(before.iter().zip(&after).all(|(b, a)| b == a || *a == 3), "only the new node takes users");

    let hundred = count(&homes(10_000, &named(100)), 100);
    let range = (*hundred.iter().min().unwrap(), *hundred.iter().max().unwrap());
    assert_eq!(range, (int(&spread[2], "min"), int(&spread[2], "max")));
}

#[test]
fn close_and_error_codes_are_those_of_the_table() {
    let file = load("close-codes.json");
    let ours = [
        ("protocol_error", Close::ProtocolError),
        ("invalid_utf8", Close::InvalidUtf8),
        ("internal_error", Close::InternalError),
        ("auth_refused", Close::AuthRefused("why".into())),
        ("invalid_tenant", Close::InvalidTenant),
        ("heartbeat_timeout", Close::HeartbeatTimeout),
        ("draining", Close::Draining),
        ("slow_consumer", Close::SlowConsumer),
        ("replaced", Close::Replaced),
        ("kicked", Close::Kicked),
        ("rate_limited", Close::RateLimited),
        ("duplicate_device", Close::DuplicateDevice),
    ];
    let rows = file["close"].as_array().unwrap();
    assert_eq!(rows.len(), ours.len());
    for (row, (name, close)) in rows.iter().zip(ours) {
        assert_eq!(text(row, "name"), name);
        assert_eq!(Some(int(row, "code")), close.code().map(i64::from), "{name}");
        assert_eq!(row["reason"].as_str().unwrap_or("why"), close.reason(), "{name}");
    }
    let errors = [FrameError::InvalidProtobuf, FrameError::FrameTooLarge];
    for (row, error) in file["error_frames"].as_array().unwrap().iter().zip(errors) {
        assert_eq!((int32(row, "code"), text(row, "message").as_str()), (error.code(), error.message()));
    }
}

#[test]
fn envelopes_have_the_documented_layout() {
    let file = load("envelopes.json");
    assert_eq!(vectors(&file).len(), 4);
    for v in vectors(&file).iter().filter(|v| text(v, "name") != "empty") {
        let joined = format!("01{}{}{}", text(v, "nonce_hex"), text(v, "tag_hex"), text(v, "ciphertext_hex"));
        assert_eq!(text(v, "envelope_hex"), joined, "{}", text(v, "name"));
        assert_eq!(text(v, "plaintext_hex").len(), text(v, "ciphertext_hex").len());
    }
}
