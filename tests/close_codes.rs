//! The close codes in three places, the shared vectors, the printed table and the client SDK, must say the same. Must not
//! start a gateway.

use std::path::Path;

use bytes::BytesMut;
use mics::ws::decode::Decoder;
use mics_actors::wire::Incoming;
use mics_client::{CloseAction, close_action};
use mics_domain::codes::{CLOSE_CODES, Close};
use serde_json::Value;

/// One close code: code, reason (none: chosen by the tenant), what the client does.
type Row = (u16, Option<String>, CloseAction);

/// The rows of the shared vectors that a client can get.
fn vectors() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors/close-codes.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let rows = file["close"].as_array().unwrap().iter();
    rows.filter_map(|row| {
        let action = match &row["client"] {
            Value::Null if row.as_object().unwrap().contains_key("client") => return None,
            Value::String(action) => match action.as_str() {
                "stop" => CloseAction::Stop,
                "retry" => CloseAction::Retry,
                "retry_later" => CloseAction::RetryLater,
                other => panic!("{other} in {row}"),
            },
            _ => panic!("no client in {row}"),
        };
        let code = row["code"].as_u64().unwrap().try_into().unwrap();
        Some((code, row["reason"].as_str().map(str::to_owned), action))
    })
    .collect()
}

/// What the words of the printed table ask of a client.
fn action(words: &str) -> CloseAction {
    match words {
        "reconnect after a long pause" => CloseAction::RetryLater,
        _ if words.starts_with("reconnect") => CloseAction::Retry,
        _ if words.starts_with("stop") => CloseAction::Stop,
        _ => panic!("no instruction: {words}"),
    }
}

#[test]
fn the_printed_table_is_that_of_the_vectors() {
    let printed: Vec<Row> = CLOSE_CODES
        .iter()
        .map(|row| {
            let reason = (row.code != "4001").then(|| row.text.to_owned());
            (row.code.parse().unwrap(), reason, action(row.client))
        })
        .collect();
    assert_eq!(printed, vectors());
}

#[test]
fn the_client_sdk_does_what_the_vectors_say() {
    let vectors = vectors();
    for (code, _, action) in &vectors {
        assert_eq!(close_action(*code), *action, "{code}");
    }
    let listed = |code: &u16| vectors.iter().any(|row| row.0 == *code);
    for code in (1000..5000).filter(|code| !listed(code)) {
        assert_eq!(close_action(code), CloseAction::Retry, "{code} is in no table");
    }
}

/// The header of a masked binary frame that declares `length` bytes.
fn declares(length: u64) -> BytesMut {
    let mut header = BytesMut::from(&[0x82, 0x80 | 127][..]);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&[1, 2, 3, 4]);
    header
}

/// Why 1009 is in no table: whatever length is declared, the message is passed over. Nothing else of the sender is heard
/// before that many bytes have come, so its heartbeat runs out first (4100). Only a length that RFC 6455 forbids ends
/// the connection at once.
#[test]
fn no_declared_length_is_answered_with_message_too_big() {
    for length in [1 << 40, 1 << 62, i64::MAX as u64] {
        let (mut decoder, mut buffer) = (Decoder::new(1_000), declares(length));
        for _ in 0..100 {
            assert!(decoder.next(&mut buffer).is_none(), "{length}");
            assert!(buffer.is_empty(), "nothing is kept of {length} bytes");
            buffer.extend_from_slice(&[0; 10_000]);
        }
    }
    for length in [1 << 63, u64::MAX] {
        let broken = Decoder::new(1_000).next(&mut declares(length));
        assert!(matches!(broken, Some(Incoming::Broken(Close::ProtocolError))), "{length}");
    }
}
