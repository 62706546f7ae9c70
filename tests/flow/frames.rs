//! WebSocket frames, good and bad: what keeps a connection open, what ends it, and that nothing ends the node.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::support::client::{masked, single};
use crate::support::{Client, Frame, Gateway, Setup, vector};

fn pings(client: &mut Client) {
    assert!(client.ping());
    client.pong();
}

#[test]
fn protocol_pings_are_answered_with_their_payload() {
    let gateway = Setup::default().start();
    let mut client = gateway.connect("t1", "u", "d");
    for payload in [&b""[..], b"abc", &[7; 125]] {
        client.frame(9, true, payload);
        assert_eq!(client.next(), Frame::Pong(payload.to_vec()));
    }
    client.frame(10, true, b"unsolicited");
    pings(&mut client);
}

#[test]
fn unsolicited_pongs_keep_the_path_open() {
    let keepalive = std::time::Duration::from_millis(50);
    let gateway = Setup::default().set(|settings| settings.keepalive = keepalive).start();
    let mut client = gateway.connect("t1", "u", "d");
    for _ in 0..3 {
        assert_eq!(client.next(), Frame::Pong(Vec::new()));
    }
}

#[test]
fn garbage_and_oversized_messages_are_answered_and_the_connection_stays_open() {
    let gateway = Setup::default().set(|settings| settings.max_message_bytes = 1_000).start();
    let mut client = gateway.connect("t1", "u", "d");
    for garbage in [&[0xFF][..], &[0x0a, 0x7f, 1], b"not a protobuf"] {
        client.binary(garbage);
        assert_eq!(client.error(), (4400, "invalid protobuf".into()));
    }
    client.binary(&vec![0; 1_000 + 65_536 + 1]);
    assert_eq!(client.error(), (4401, "frame too large".into()));
    // Too large only as a whole, and never complete in memory.
    for part in 0..40 {
        client.frame(if part == 0 { 2 } else { 0 }, part == 39, &[0; 4_000]);
    }
    assert_eq!(client.error(), (4401, "frame too large".into()));
    pings(&mut client);
    let rejected = &gateway.node.metrics.ws_frames_rejected_total;
    assert_eq!(rejected.with_label_values(&["t1", "frame_too_large"]).get(), 2);
}

#[test]
fn text_and_empty_or_future_payloads_are_ignored() {
    let gateway = Setup::default().start();
    let mut client = gateway.connect("t1", "u", "d");
    client.frame(1, true, "text: привет".as_bytes());
    client.binary(&[]);
    client.binary(&[0xa2, 0x06, 0x01, b'x']);
    pings(&mut client);
}

#[test]
fn fragments_are_joined_with_control_frames_between_them() {
    let gateway = Setup::default().start();
    let mut u2 = gateway.connect("t1", "u2", "d");
    let mut u1 = gateway.connect("t1", "u1", "dev1");
    let message = vector("client_message");
    let (first, rest) = message.split_at(10);
    let (second, third) = rest.split_at(0);
    u1.frame(2, false, first);
    u1.frame(9, true, b"between");
    u1.frame(0, false, second);
    u1.frame(0, true, third);
    assert_eq!(u1.next(), Frame::Pong(b"between".to_vec()));
    assert_eq!(u1.ack().msg_id, "m-1");
    assert_eq!(u2.next(), Frame::Binary(vector("server_delivery")));
}

#[test]
fn bytes_may_arrive_one_by_one() {
    let gateway = Setup::default().start();
    let mut u1 = gateway.connect("t1", "u1", "dev1");
    for byte in masked(2, true, &vector("client_message")) {
        assert!(u1.bytes(&[byte]));
    }
    assert_eq!(u1.ack().msg_id, "m-1");
}

#[test]
fn a_frame_sent_together_with_the_handshake_is_not_lost() {
    let gateway = Setup::default().start();
    let query = "tenantId=t1&token=valid:u1&deviceId=dev1";
    let mut client = Client::open_and_send(gateway.address, query, &masked(2, true, &vector("client_message")));
    client.welcome();
    assert_eq!(client.ack().msg_id, "m-1");
}

#[test]
fn breaking_the_protocol_ends_the_connection_with_its_code() {
    let gateway = Setup::default().start();
    let cases: [(&str, Vec<u8>, u16); 7] = [
        ("unmasked", vec![0x82, 0x01, 0x00], 1002),
        ("reserved bit", masked(0x42, true, b"x"), 1002),
        ("reserved opcode", masked(0x03, true, b"x"), 1002),
        ("continuation of nothing", masked(0, true, b"x"), 1002),
        ("fragmented control frame", masked(9, false, b"x"), 1002),
        ("long control frame", masked(9, true, &[0; 126]), 1002),
        ("text that is no UTF-8", masked(1, true, &[0xFF, 0xFE]), 1007),
    ];
    for (case, bytes, code) in cases {
        let mut client = gateway.connect("t1", "u", case.replace(' ', "-").as_str());
        client.bytes(&bytes);
        assert_eq!(client.closed().0, code, "{case}");
    }
}

/// A node that took the corpus must still serve.
fn serves(gateway: &Gateway) {
    let mut u2 = gateway.connect("t2", "u2", "d");
    let mut u1 = gateway.connect("t2", "u1", "d");
    assert_eq!(u1.say(single("after", "u2", b"x")).reason, "");
    assert_eq!(u2.delivery().msg_id, "after");
    assert_eq!(gateway.get("/readyz").0, 200);
    let restarts = gateway.get("/metrics").1;
    assert!(!restarts.contains("mics_actor_restarts_total{"), "no actor panicked");
}

#[test]
fn no_corpus_of_garbage_messages_ends_a_connection() {
    let gateway = Setup::default().start();
    let mut random = SmallRng::seed_from_u64(7);
    let mut client = gateway.connect("t1", "fuzz", "d");
    let seed = vector("client_message");
    for _ in 0..2_000 {
        let mut bytes = seed.clone();
        for _ in 0..random.random_range(1..8) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes.truncate(random.random_range(0..=bytes.len()));
        assert!(client.binary(&bytes), "the server closed after {bytes:02x?}");
    }
    // Everything was answered or ignored; a close frame says how this ended.
    client.close(1000);
    assert_eq!(client.closed().0, 1000);
    serves(&gateway);
}

#[test]
fn no_corpus_of_garbage_bytes_ends_the_node() {
    let gateway = Setup::default().start();
    let mut random = SmallRng::seed_from_u64(11);
    for round in 0..200 {
        let mut client = gateway.open(&format!("tenantId=t1&token=valid:fuzz{round}&deviceId=d"));
        let length = random.random_range(1..400);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
        // Half of them begin like a frame.
        if round % 2 == 0 {
            bytes[0] = [0x82, 0x02, 0x80, 0x89, 0x88, 0x81][round / 2 % 6];
        }
        client.bytes(&bytes);
    }
    for round in 0..50 {
        let garbage: Vec<u8> = (0..200).map(|_| random.random_range(32..127u8)).collect();
        Client::raw(gateway.address, &garbage, round % 2 == 0);
    }
    serves(&gateway);
}
