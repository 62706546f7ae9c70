//! Messages for whoever is not reading: buffered, handed over in order, never lost to a slow reader.

use std::sync::Arc;

use mics_actors::encode;
use mics_actors::node::clock_ms;
use mics_domain::offline::Entry;
use mics_proto::message::{AckStatus, server_frame::Payload};
use mics_proto::prost::Message as _;

use crate::support::client::single;
use crate::support::{Book, Client, Gateway, Setup, wait_until};

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Sends numbered messages of `bytes` bytes, all of which must be promised.
fn send_all(sender: &mut Client, to: &str, range: std::ops::Range<usize>, bytes: usize) {
    for id in ids(range) {
        let ack = sender.say(single(&id, to, &vec![b'x'; bytes]));
        assert_eq!((ack.status, &*ack.reason, ack.msg_id), (AckStatus::Sent as i32, "", id));
    }
}

/// A client with small socket buffers that has read its connect_ack and nothing else.
fn sluggish(gateway: &Gateway, user: &str, device: &str) -> Client {
    let query = format!("tenantId=t1&token=valid:{user}&deviceId={device}");
    let mut client = Client::open_with(gateway.address, &query, Some(4_096));
    client.welcome();
    client
}

fn closed_with(gateway: &Gateway, code: &str) -> u64 {
    gateway.node.metrics.ws_closed_total.with_label_values(&["t1", code]).get()
}

#[test]
fn the_backlog_arrives_in_order_after_connect_ack_and_before_live_messages() {
    let gateway = Setup::default().start();
    let mut sender = gateway.connect("t1", "sender", "d");
    send_all(&mut sender, "v", 0..300, 10);
    let mut v = gateway.open("tenantId=t1&token=valid:v&deviceId=d");
    // Live messages race the connect; whatever wins, the order is the senders.
    send_all(&mut sender, "v", 300..400, 10);
    v.welcome();
    assert_eq!(v.ids(400), ids(0..400));
    let mut again = gateway.connect("t1", "v", "other");
    again.ping();
    again.pong();
}

#[test]
fn a_backlog_larger_than_the_outbox_reaches_a_client_that_reads() {
    let gateway = Setup::default().set(|settings| settings.outbox_max_bytes = 64 * 1024).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    send_all(&mut sender, "v", 0..200, 8 * 1024);
    assert_eq!(gateway.connect("t1", "v", "d").ids(200), ids(0..200));
    assert_eq!(closed_with(&gateway, "4408"), 0);
}

#[test]
fn the_oldest_messages_make_room_in_a_full_buffer() {
    let gateway = Setup::default().set(|settings| settings.offline.max_messages_per_user = 10).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    send_all(&mut sender, "v", 0..25, 10);
    assert_eq!(gateway.connect("t1", "v", "d").ids(10), ids(15..25));
}

#[test]
fn a_message_that_the_buffer_refuses_is_not_promised() {
    let gateway = Setup::default().set(|settings| settings.offline.max_bytes_per_user = 100).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    let ack = sender.say(single("m", "v", &[0; 200]));
    assert_eq!((ack.status, &*ack.reason), (AckStatus::Failed as i32, "delivery failed"));
}

#[test]
fn buffered_messages_expire() {
    let book = Book::default().config("t1", |config| config.offline_ttl_ms = 50);
    let gateway = Setup::with(book).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    send_all(&mut sender, "v", 0..5, 10);
    let tenant = gateway.node.tenants().get("t1").unwrap().clone();
    wait_until("the buffer is empty", || !tenant.offline.has("v"));
    let mut v = gateway.connect("t1", "v", "d");
    v.ping();
    v.pong();
}

#[test]
fn a_slow_reader_is_closed_with_4408_and_finds_everything_unread_after_reconnecting() {
    let gateway = Setup::default().set(|settings| settings.outbox_max_bytes = 256 * 1024).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    let mut slow = sluggish(&gateway, "v", "d");
    let mut sent = 0;
    let sessions = || gateway.node.tenants().get("t1").unwrap().sessions.of("v");
    while sessions().iter().any(|session| session.outbox.is_open()) {
        assert!(sent < 5_000, "the kernel can't hold this much");
        send_all(&mut sender, "v", sent..sent + 10, 16 * 1024);
        sent += 10;
    }
    wait_until("the slow session is gone", || sessions().is_empty() && closed_with(&gateway, "4408") == 1);
    send_all(&mut sender, "v", sent..sent + 10, 1_024);
    sent += 10;

    // What was written is still in the socket; the rest comes on the next connection.
    let (mut got, _) = slow.rest();
    assert!(!got.is_empty() && got.len() < sent);
    got.extend(gateway.connect("t1", "v", "d").ids(sent - got.len()));
    assert_eq!(got, ids(0..sent));
}

#[test]
fn what_a_slow_device_missed_is_kept_for_it_alone() {
    let gateway = Setup::default().set(|settings| settings.outbox_max_bytes = 256 * 1024).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    let mut phone = sluggish(&gateway, "v", "phone");
    let mut laptop = gateway.connect("t1", "v", "laptop");
    let sessions = || gateway.node.tenants().get("t1").unwrap().sessions.of("v");
    let mut sent = 0;
    while sessions().iter().all(|session| session.outbox.is_open()) {
        assert!(sent < 5_000, "the kernel can't hold this much");
        send_all(&mut sender, "v", sent..sent + 1, 16 * 1024);
        assert_eq!(laptop.delivery().msg_id, sent.to_string());
        sent += 1;
    }
    wait_until("only the laptop is left", || sessions().len() == 1);
    let mut tablet = gateway.connect("t1", "v", "tablet");
    send_all(&mut sender, "v", sent..sent + 1, 10);
    assert_eq!(tablet.delivery().msg_id, sent.to_string(), "nothing of the phone's");
    assert_eq!(laptop.delivery().msg_id, sent.to_string());

    let (mut got, _) = phone.rest();
    got.extend(gateway.connect("t1", "v", "phone").ids(sent - got.len()));
    assert_eq!(got, ids(0..sent));
}

#[test]
fn what_a_replaced_connection_was_not_sent_moves_to_the_new_one() {
    let gateway = Setup::default().set(|settings| settings.outbox_max_bytes = 64 << 20).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    let mut old = sluggish(&gateway, "v", "d");
    send_all(&mut sender, "v", 0..600, 32 * 1024);
    let mut new = gateway.connect("t1", "v", "d");
    let (mut got, code) = old.rest();
    assert!(got.len() < 600, "the kernel holds less than this");
    got.extend(new.ids(600 - got.len()));
    if code.is_none() {
        // Read too late: the socket was cut inside a frame, which then comes last.
        got.sort_by_key(|id| id.parse::<usize>().unwrap());
    }
    assert_eq!(got, ids(0..600));
}

#[test]
fn a_slow_reader_delays_nobody_else() {
    let book = Book::default().group("t1", "g", ["slow", "fast"]);
    let gateway = Setup::with(book).set(|settings| settings.outbox_max_bytes = 64 << 20).start();
    let mut slow = sluggish(&gateway, "slow", "d");
    let mut fast = gateway.connect("t1", "fast", "d");
    let mut sender = gateway.connect("t1", "sender", "d");
    for n in 0..400 {
        let mut message = crate::support::client::group(&n.to_string(), "g");
        message.msg_body = vec![b'x'; 32 * 1024].into();
        assert_eq!(sender.say(message).reason, "");
        assert_eq!(fast.delivery().msg_id, n.to_string());
    }
    assert_eq!(closed_with(&gateway, "4408"), 0);
    let unread = || gateway.node.tenants().get("t1").unwrap().sessions.of("slow")[0].outbox.queued_bytes();
    assert!(unread() > 0, "the slow one is behind");
    assert_eq!(slow.ids(400), ids(0..400), "and finds everything once it reads");
}

#[test]
fn frames_of_a_socket_that_died_unread_are_kept() {
    let gateway = Setup::default().set(|settings| settings.outbox_max_bytes = 64 << 20).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    let dead = sluggish(&gateway, "v", "d");
    send_all(&mut sender, "v", 0..600, 32 * 1024);
    drop(dead);
    wait_until("the dead session is gone", || gateway.sessions("t1") == 1);
    send_all(&mut sender, "v", 600..601, 10);
    // What the kernel had taken is lost with the socket; from there on nothing is.
    let mut v = gateway.connect("t1", "v", "d");
    let first: usize = v.delivery().msg_id.parse().unwrap();
    assert!(first < 600, "the kernel holds less than this");
    assert_eq!(v.ids(600 - first), ids(first + 1..601));
}

#[test]
fn a_frame_that_two_devices_missed_comes_to_each_of_them() {
    let gateway = Setup::default().start();
    let tenant = gateway.node.tenants().get("t1").unwrap().clone();
    let request = single("missed", "v", b"x").encode_to_vec();
    let entry = Entry {
        id: gateway.node.next_delivery(),
        frame: encode::delivery_of(&request),
        expires_at_ms: clock_ms() + 60_000,
        devices: ["phone", "tablet"].map(Arc::from).into(),
    };
    tenant.offline.put_back(&"v".into(), vec![entry]);
    for device in ["phone", "tablet"] {
        assert_eq!(gateway.connect("t1", "v", device).ids(1), ["missed"], "{device}");
    }
    wait_until("both have it", || !tenant.offline.has("v"));
}

#[test]
fn messages_pulled_from_the_tenant_come_first_however_many_they_are() {
    let stored: Vec<_> = (0..250).map(|n| single(&n.to_string(), "v", &[b'x'; 2_048])).collect();
    let book = Book::default().config("t1", |config| config.offline_use_hook_pull = true).stored(stored);
    let gateway = Setup::with(book).set(|settings| settings.outbox_max_bytes = 64 * 1024).start();
    let mut v = gateway.connect("t1", "v", "d");
    assert_eq!(v.ids(250), ids(0..250));
    v.ping();
    assert!(matches!(v.payload(), Payload::HeartbeatPong(_)));
    assert_eq!(closed_with(&gateway, "4408"), 0);
}

#[test]
fn a_tenant_that_keeps_messages_itself_is_told_by_event_and_nothing_is_buffered() {
    let book = Book::default().config("t1", |config| config.offline_use_hook_pull = true).group("t1", "g", ["a", "b"]);
    let gateway = Setup::with(book).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    assert_eq!(sender.say(single("m", "v", b"x")).status, AckStatus::Sent as i32);
    let ack = sender.say(crate::support::client::group("n", "g"));
    assert_eq!((ack.offline_notified_users, ack.offline_buffered_users), (2, 0));
    let told: Vec<String> = gateway.node.events.recent().iter().map(|event| event.to_user.clone()).collect();
    for user in ["v", "a", "b"] {
        assert!(told.contains(&user.to_owned()), "{user} in {told:?}");
    }
    assert!(!gateway.node.tenants().get("t1").unwrap().offline.has("v"));
}
