//! Group messages: who gets them, how often, and what the ack counts.

use mics_proto::message::AckStatus;

use crate::support::client::group;
use crate::support::{Book, Setup};

#[test]
fn a_group_message_reaches_every_device_of_every_member_the_senders_included() {
    let book = Book::default().group("t1", "g", ["u1", "u2", "u1", "", "u2", " "]);
    let gateway = Setup::with(book).start();
    let mut tablet = gateway.connect("t1", "u1", "tablet");
    let mut u2 = gateway.connect("t1", "u2", "phone");
    let mut stranger = gateway.connect("t1", "u3", "phone");
    let mut u1 = gateway.connect("t1", "u1", "phone");
    u1.send(group("m", "g"));
    assert_eq!(u1.delivery().group_id, "g");
    let ack = u1.ack();
    assert_eq!((ack.status, &*ack.reason), (AckStatus::Sent as i32, ""));
    assert_eq!((ack.partial_delivery, ack.offline_buffered_users, ack.offline_skipped_users), (false, 0, 0));
    for member in [&mut tablet, &mut u2] {
        assert_eq!(member.delivery().msg_id, "m");
        // Once, though listed twice.
        member.ping();
        member.pong();
    }
    stranger.ping();
    stranger.pong();
}

#[test]
fn the_ack_counts_members_who_are_offline_up_to_the_limit_and_those_beyond_it() {
    let members: Vec<String> = (0..10).map(|n| format!("u{n}")).collect();
    let gateway = Setup::with(Book::default().group("t1", "g", members))
        .set(|settings| (settings.group_offline_max_users, settings.group_chunk) = (4, 3))
        .start();
    let mut online = gateway.connect("t1", "u9", "d");
    let mut sender = gateway.connect("t1", "sender", "d");
    let ack = sender.say(group("m", "g"));
    assert_eq!(ack.status, AckStatus::Sent as i32);
    assert_eq!((ack.offline_notified_users, ack.offline_buffered_users, ack.offline_skipped_users), (0, 4, 5));
    assert!(ack.partial_delivery);
    assert_eq!(online.delivery().msg_id, "m");
    // The first four members listed are those who find it later.
    assert_eq!(gateway.connect("t1", "u0", "d").delivery().msg_id, "m");
    let mut skipped = gateway.connect("t1", "u4", "d");
    skipped.ping();
    skipped.pong();
}

#[test]
fn groups_that_are_empty_unknown_or_too_large_are_refused() {
    let large: Vec<String> = (0..11).map(|n| format!("u{n}")).collect();
    let book = Book::default()
        .group("t1", "empty", [""; 0])
        .group("t1", "blank", [" ", "a\u{0}b"])
        .group("t1", "large", large);
    let gateway = Setup::with(book).set(|settings| settings.group_max_members = 10).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    let cases = [
        ("empty", "group members empty"),
        ("blank", "group members empty"),
        ("unknown", "group members empty"),
        ("large", "group too large"),
    ];
    for (name, reason) in cases {
        let ack = sender.say(group(name, name));
        assert_eq!((ack.status, &*ack.reason), (AckStatus::Failed as i32, reason), "{name}");
    }
    assert_eq!(gateway.node.metrics.group_members_over_limit_total.with_label_values(&["t1"]).get(), 1);
}

#[test]
fn nobody_to_deliver_to_and_no_room_to_keep_it_is_a_failure() {
    let gateway = Setup::with(Book::default().group("t1", "g", ["a", "b"]))
        .set(|settings| settings.group_offline_max_users = 0)
        .start();
    let mut sender = gateway.connect("t1", "sender", "d");
    let ack = sender.say(group("m", "g"));
    assert_eq!((ack.status, &*ack.reason, ack.offline_skipped_users), (AckStatus::Failed as i32, "delivery failed", 2));
}

#[test]
fn a_large_group_reaches_all_and_keeps_the_order_of_its_messages() {
    let members: Vec<String> = (0..300).map(|n| format!("u{n}")).collect();
    let gateway = Setup::with(Book::default().group("t1", "g", members)).start();
    let mut online: Vec<_> = (0..300).step_by(10).map(|n| gateway.connect("t1", &format!("u{n}"), "d")).collect();
    let mut sender = gateway.connect("t1", "sender", "d");
    let ids: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    ids.iter().for_each(|id| sender.send(group(id, "g")));
    for id in &ids {
        let ack = sender.ack();
        assert_eq!((&ack.msg_id, ack.offline_buffered_users), (id, 270));
    }
    for member in &mut online {
        assert_eq!(member.ids(20), ids);
    }
}
