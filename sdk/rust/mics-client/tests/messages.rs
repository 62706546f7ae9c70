//! Sending with acks and retries, receiving in order and once.

mod support;

use mics_client::*;
use mics_proto::message::server_frame::Payload;
use std::sync::Arc;
use std::time::Duration;
use support::*;

fn incoming(user: &str, id: &str) -> MessageRequest {
    MessageRequest { user_id: user.into(), msg_id: id.into(), msg_body: "x".into(), ..Default::default() }
}

async fn deliveries(events: &mut EventStream, count: usize) -> Vec<Delivery> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.push(wait_for(events, |e| if let Event::Delivery(d) = e { Some(d) } else { None }).await);
    }
    seen
}

#[tokio::test]
async fn a_message_carries_identity_and_a_unique_id_and_ends_with_its_ack() {
    let gate = Gate::start().await;
    let (client, _events, mut conn) = gate.pair(MicsClientOptions::default()).await;
    let server = async {
        let (a, b) = (conn.message().await, conn.message().await);
        conn.ack(&b.msg_id, AckStatus::Failed, "group members empty").await;
        conn.ack(&a.msg_id, AckStatus::Sent, "").await;
        (a, b)
    };
    let (single, group, (a, b)) =
        tokio::join!(client.send_single_chat("u2", "hi", None), client.send_group_chat("g", "", None), server);
    assert_eq!(single.unwrap().status(), AckStatus::Sent);
    let group = group.unwrap();
    assert_eq!((group.status(), group.reason.as_str()), (AckStatus::Failed, "group members empty"));
    assert_eq!((a.tenant_id.as_str(), a.user_id.as_str(), a.device_id.as_str()), ("t1", "u1", "dev1"));
    assert_eq!((a.msg_type(), a.to_user_id.as_str(), &a.msg_body[..]), (MessageType::SingleChat, "u2", &b"hi"[..]));
    assert_eq!((b.msg_type(), b.group_id.as_str()), (MessageType::GroupChat, "g"));
    assert!(a.timestamp_ms > 1_600_000_000_000);
    assert!(a.msg_id.len() == 32 && a.msg_id < b.msg_id, "UUIDv7 ids grow: {} {}", a.msg_id, b.msg_id);
}

#[tokio::test]
async fn a_lost_ack_is_retried_under_the_same_id_until_one_comes() {
    let gate = Gate::start().await;
    let (client, _events, mut conn) = gate.pair(quick()).await;
    let server = async {
        let (first, second) = (conn.message().await, conn.message().await);
        conn.ack(&second.msg_id, AckStatus::Sent, "duplicate").await;
        (first, second)
    };
    let (ack, (first, second)) = tokio::join!(client.send_single_chat("u2", "hi", None), server);
    assert_eq!((first.msg_id, first.msg_body), (second.msg_id, second.msg_body));
    assert_eq!(ack.unwrap().reason, "duplicate");
}

#[tokio::test]
async fn three_silent_attempts_end_in_a_local_ack() {
    let gate = Gate::start().await;
    let (client, _events, mut conn) = gate.pair(quick()).await;
    let server = async { (conn.message().await, conn.message().await, conn.message().await) };
    let (ack, _) = tokio::join!(client.send_single_chat("u2", "hi", Some("m-1".into())), server);
    let ack = ack.unwrap();
    assert_eq!((ack.msg_id.as_str(), ack.status(), ack.reason.as_str()), ("m-1", AckStatus::Failed, "ack timeout"));
    conn.ack("none", AckStatus::Sent, "").await;
    let (next, message) = tokio::join!(client.send_single_chat("u2", "next", Some("m-2".into())), async {
        let message = conn.message().await;
        conn.ack(&message.msg_id, AckStatus::Sent, "").await;
        message
    });
    assert_eq!(message.msg_id, "m-2", "no fourth attempt");
    assert!(next.is_ok());
}

#[tokio::test]
async fn messages_cut_off_by_a_lost_connection_are_repeated_in_order() {
    let gate = Gate::start().await;
    let options = MicsClientOptions { max_send_attempts: 1, ack_timeout: Duration::from_secs(10), ..quick() };
    let (client, mut events, mut first) = gate.pair(options).await;
    for id in ["a", "b", "c"] {
        client.submit_single_chat("u2", "x", Some(id.into())).unwrap();
    }
    for _ in 0..3 {
        first.message().await;
    }
    drop(first);
    let mut second = gate.accept().await;
    let mut again = Vec::new();
    for _ in 0..3 {
        let id = second.message().await.msg_id;
        second.ack(&id, AckStatus::Sent, "").await;
        again.push(id);
    }
    assert_eq!(again, ["a", "b", "c"]);
    for id in ["a", "b", "c"] {
        let ack = wait_for(&mut events, |e| if let Event::Ack(a) = e { Some(a) } else { None }).await;
        assert_eq!((ack.msg_id.as_str(), ack.status()), (id, AckStatus::Sent));
    }
}

#[tokio::test]
async fn a_send_during_a_long_reconnect_ends_at_its_deadline() {
    let gate = Gate::start().await;
    let options = MicsClientOptions { send_deadline: Duration::from_millis(300), ..quick() };
    let (client, mut events, conn) = gate.pair(options).await;
    conn.close(4200, "").await;
    wait_for(&mut events, |e| (e == Event::State(ConnectionState::Reconnecting)).then_some(())).await;
    let _mute = gate.accept_silent().await;
    let result = tokio::time::timeout(HANG, client.send_single_chat("u2", "x", None)).await.unwrap();
    assert!(matches!(result, Err(MicsError::SendDeadline)), "{result:?}");
}

#[tokio::test]
async fn disconnect_gives_waiting_sends_an_outcome() {
    let gate = Gate::start().await;
    let (client, _events, mut conn) = gate.pair(MicsClientOptions::default()).await;
    let leave = async {
        conn.message().await;
        tokio::join!(client.disconnect(), async { while conn.raw().await.is_some() {} });
    };
    let (result, ()) = tokio::join!(client.send_single_chat("u2", "x", None), leave);
    assert!(matches!(result, Err(MicsError::Disconnected)), "{result:?}");
}

#[tokio::test]
async fn wrong_arguments_are_refused_before_they_are_sent() {
    let gate = Gate::start().await;
    let (client, _events, mut conn) = gate.pair(MicsClientOptions::default()).await;
    assert!(matches!(client.send_single_chat(" ", "x", None).await, Err(MicsError::InvalidArgument(_))));
    assert!(matches!(client.send_group_chat("", "x", None).await, Err(MicsError::InvalidArgument(_))));
    assert!(matches!(client.submit_single_chat("u2", "x", Some(" ".into())), Err(MicsError::InvalidArgument(_))));
    let both = async {
        tokio::join!(
            client.send_single_chat("u2", "x", Some("same".into())),
            client.send_single_chat("u2", "x", Some("same".into()))
        )
    };
    let ((first, second), ()) = tokio::join!(both, async {
        conn.message().await;
        conn.ack("same", AckStatus::Sent, "").await;
    });
    assert!(first.is_ok() && matches!(second, Err(MicsError::DuplicateId(id)) if id == "same"));
}

#[tokio::test]
async fn an_oversized_message_ends_at_once() {
    let gate = Gate::start().await;
    let (client, _events, mut conn) = gate.pair(MicsClientOptions::default()).await;
    let server = async {
        conn.message().await;
        conn.send(Payload::Error(ServerError { code: 4401, message: "frame too large".into() })).await;
    };
    let (ack, ()) = tokio::join!(client.send_single_chat("u2", vec![0; 9000], None), server);
    assert_eq!(ack.unwrap().reason, "frame too large");
}

#[tokio::test]
async fn a_full_send_queue_is_told() {
    let gate = Gate::start().await;
    let options = MicsClientOptions { send_queue_capacity: 1, max_in_flight: 1, ..Default::default() };
    let (client, _events, mut conn) = gate.pair(options).await;
    client.submit_single_chat("u2", "x", None).unwrap();
    conn.message().await;
    client.submit_single_chat("u2", "x", None).unwrap();
    assert!(matches!(client.submit_single_chat("u2", "x", None), Err(MicsError::QueueFull)));
}

#[tokio::test]
async fn deliveries_come_in_order_and_once() {
    let gate = Gate::start().await;
    let (client, mut events, mut conn) = gate.pair(MicsClientOptions::default()).await;
    for (user, id) in [("u2", "1"), ("u2", "1"), ("u3", "1"), ("u2", "2"), ("u2", "1"), ("u2", "3")] {
        conn.deliver(incoming(user, id)).await;
    }
    let seen = deliveries(&mut events, 4).await;
    let seen: Vec<_> = seen.iter().map(|d| (d.message.user_id.as_str(), d.message.msg_id.as_str())).collect();
    assert_eq!(seen, [("u2", "1"), ("u3", "1"), ("u2", "2"), ("u2", "3")]);
    assert_eq!(client.stats().snapshot().duplicates_dropped, 2);
}

#[tokio::test]
async fn a_delivery_repeated_after_a_reconnect_is_dropped() {
    let gate = Gate::start().await;
    let (_client, mut events, mut first) = gate.pair(quick()).await;
    first.deliver(incoming("u2", "1")).await;
    assert_eq!(deliveries(&mut events, 1).await.len(), 1);
    first.close(4200, "").await;
    let mut second = gate.accept().await;
    second.deliver(incoming("u2", "1")).await;
    second.deliver(incoming("u2", "2")).await;
    assert_eq!(deliveries(&mut events, 1).await[0].message.msg_id, "2");
}

#[tokio::test]
async fn a_delivery_that_was_dropped_may_come_again() {
    let gate = Gate::start().await;
    // Three events of the connect are unread: there is room for one delivery.
    let options = MicsClientOptions { event_capacity: 4, ..quick() };
    let (client, mut events, mut conn) = gate.pair(options).await;
    let message = |id: &str| MessageRequest { msg_id: id.into(), msg_body: "x".into(), ..Default::default() };
    conn.deliver(message("1")).await;
    conn.deliver(message("2")).await;
    let acked = async {
        let sent = conn.message().await;
        conn.ack(&sent.msg_id, AckStatus::Sent, "").await;
    };
    let (sent, ()) = tokio::join!(client.send_single_chat("u2", "x", None), acked);
    sent.unwrap();
    wait_for(&mut events, |e| if let Event::Overflow { dropped } = e { Some(dropped) } else { None }).await;
    conn.deliver(message("1")).await;
    conn.deliver(message("2")).await;
    assert_eq!(deliveries(&mut events, 1).await[0].message.msg_id, "2");
}

#[tokio::test]
async fn bodies_are_encrypted_on_the_wire_and_decrypted_on_arrival() {
    let gate = Gate::start().await;
    let crypto = Arc::new(AesGcmMessageCrypto::new(&[7; 32]).unwrap());
    let options = MicsClientOptions { message_crypto: Some(crypto.clone()), ..quick() };
    let (client, mut events, mut conn) = gate.pair(options).await;
    let server = async {
        let (first, again) = (conn.message().await, conn.message().await);
        conn.ack(&first.msg_id, AckStatus::Sent, "").await;
        assert_eq!(first.msg_body, again.msg_body, "encrypted once per call");
        first.msg_body
    };
    let (_, wire) = tokio::join!(client.send_single_chat("u2", "secret", None), server);
    assert_eq!((wire[0], wire.len()), (1, 29 + 6));
    conn.deliver(MessageRequest { msg_body: wire, ..incoming("u2", "1") }).await;
    conn.deliver(MessageRequest { msg_body: "plain".into(), ..incoming("u2", "2") }).await;
    conn.deliver(MessageRequest { msg_body: "".into(), ..incoming("u2", "3") }).await;
    let seen = deliveries(&mut events, 3).await;
    let seen: Vec<_> = seen.iter().map(|d| (&d.message.msg_body[..], d.decrypt_failed)).collect();
    assert_eq!(seen, [(&b"secret"[..], false), (b"plain", true), (b"", false)]);
}
