//! The shared wire vectors, byte for byte over a socket. Times that the gateway chooses are set to the vector's first.

use mics_proto::message::{ServerFrame, server_frame};
use mics_proto::prost::Message as _;

use crate::support::client::group;
use crate::support::{Book, Client, Frame, Setup, hex, vector};

const NOW: i64 = 1_771_000_000_000;

fn vector_time() -> i64 {
    match ServerFrame::decode(&vector("server_heartbeat_pong")[..]).unwrap().payload {
        Some(server_frame::Payload::HeartbeatPong(pong)) => pong.timestamp_ms,
        other => panic!("{other:?}"),
    }
}

fn raw(client: &mut Client) -> Vec<u8> {
    match client.next() {
        Frame::Binary(bytes) => bytes,
        other => panic!("expected an application frame, got {other:?}"),
    }
}

/// The frame with the vectors' time and trace id in place of the gateway's own; must re-encode to what was received.
fn canonical(client: &mut Client) -> String {
    use server_frame::Payload;
    let received = raw(client);
    let mut frame = ServerFrame::decode(&received[..]).unwrap();
    assert_eq!(hex(&frame.encode_to_vec()), hex(&received), "canonical encoding");
    let now = vector_time();
    match frame.payload.as_mut().unwrap() {
        Payload::ConnectAck(ack) => {
            assert_eq!(ack.trace_id.len(), 32);
            ack.trace_id = "fedcba9876543210fedcba9876543210".into();
        }
        Payload::Ack(ack) => {
            assert!(ack.timestamp_ms > NOW, "the gateway's clock");
            ack.timestamp_ms = now;
        }
        Payload::HeartbeatPong(pong) => {
            assert!(pong.timestamp_ms > NOW, "the gateway's clock, not the ping's");
            pong.timestamp_ms = now;
        }
        Payload::Delivery(_) | Payload::Error(_) => {}
    }
    hex(&frame.encode_to_vec())
}

#[test]
fn every_wire_vector_holds_over_the_socket() {
    let book = Book::default().group("t1", "five", ["a", "b", "c", "d", "e"]);
    let gateway = Setup::with(book).set(|settings| settings.group_offline_max_users = 2).start();
    let mut u2 = gateway.connect("t1", "u2", "phone");
    let mut u1 = gateway.open("tenantId=t1&token=valid:u1&deviceId=dev1");
    assert_eq!(canonical(&mut u1), hex(&vector("server_connect_ack")));

    u1.binary(&vector("client_message"));
    assert_eq!(hex(&raw(&mut u2)), hex(&vector("server_delivery")), "a delivery has nothing of the gateway's own");
    assert_eq!(canonical(&mut u1), hex(&vector("server_ack_sent")));

    for ping in ["client_heartbeat_ping", "client_heartbeat_ping_zero"] {
        u1.binary(&vector(ping));
        assert_eq!(canonical(&mut u1), hex(&vector("server_heartbeat_pong")));
    }

    let mut lost = crate::support::client::single("m-1", "", b"x");
    lost.timestamp_ms = 0;
    u1.send(lost);
    assert_eq!(canonical(&mut u1), hex(&vector("server_ack_failed")));

    u1.send(group("m-2", "five"));
    assert_eq!(canonical(&mut u1), hex(&vector("server_ack_group_partial")));

    u1.binary(&[0xFF, 0xFF]);
    assert_eq!(hex(&raw(&mut u1)), hex(&vector("server_error_4400")));
    u1.binary(&vec![0; (1 << 20) + 65_537]);
    assert_eq!(hex(&raw(&mut u1)), hex(&vector("server_error_4401")));
}
