//! Repeated messages: delivered once, answered every time.

use mics_proto::message::AckStatus;

use crate::support::client::single;
use crate::support::{Book, Check, Hold, Setup, wait_until};

#[test]
fn a_repetition_is_answered_duplicate_and_delivered_once() {
    let gateway = Setup::default().start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    assert_eq!(u.say(single("m", "v", b"x")).reason, "");
    for _ in 0..3 {
        let ack = u.say(single("m", "v", b"x"));
        assert_eq!((ack.status, &*ack.reason), (AckStatus::Sent as i32, "duplicate"));
    }
    u.say(single("mark", "v", b"x"));
    assert_eq!(v.ids(2), ["m", "mark"]);
    assert_eq!(gateway.node.metrics.dedup_hits_total.with_label_values(&["t1"]).get(), 3);
}

#[test]
fn a_repetition_after_a_reconnect_is_still_one() {
    let gateway = Setup::default().start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    u.say(single("m", "v", b"x"));
    drop(u);
    let mut u = gateway.connect("t1", "u", "d");
    assert_eq!(u.say(single("m", "v", b"x")).reason, "duplicate");
    u.say(single("mark", "v", b"x"));
    assert_eq!(v.ids(2), ["m", "mark"]);
}

#[test]
fn equal_ids_of_other_senders_and_devices_are_other_messages() {
    let gateway = Setup::default().start();
    let mut v = gateway.connect("t1", "v", "d");
    for (user, device) in [("u", "d1"), ("u", "d2"), ("w", "d1")] {
        let ack = gateway.connect("t1", user, device).say(single("1", "v", b"x"));
        assert_eq!(ack.reason, "", "{user} {device}");
        assert_eq!(v.delivery().user_id, user);
    }
}

#[test]
fn a_repetition_while_the_first_is_under_way_joins_its_outcome() {
    for allow in [true, false] {
        let (hold, denials) = (Hold::default(), Hold::default());
        let (held, denied) = (hold.clone(), denials.clone());
        let book = Book::default().check(move |message| match (&message.body[..], allow) {
            (b"mark", _) => Check::Allow,
            (_, true) => Check::Wait(held.clone()),
            (_, false) => Check::WaitThenDeny(denied.clone(), "no"),
        });
        let gateway = Setup::with(book).start();
        let waiting = || if allow { hold.waiting() } else { denials.waiting() };
        let mut v = gateway.connect("t1", "v", "d");
        let mut u = gateway.connect("t1", "u", "d");
        for _ in 0..3 {
            u.send(single("m", "v", b"x"));
        }
        let hits = gateway.node.metrics.dedup_hits_total.with_label_values(&["t1"]);
        wait_until("the first waits and two have joined", || waiting() == 1 && hits.get() == 2);
        hold.release();
        denials.release();
        for _ in 0..3 {
            let ack = u.ack();
            assert_eq!(ack.status == AckStatus::Sent as i32, allow, "{ack:?}");
            assert_eq!(ack.reason, if allow { "" } else { "no" });
        }
        u.say(single("mark", "v", b"mark"));
        let expected: &[&str] = if allow { &["m", "mark"] } else { &["mark"] };
        assert_eq!(v.ids(expected.len()), expected);
        assert_eq!(waiting(), 1, "the hook was asked once");
    }
}

#[test]
fn a_repetition_from_a_second_connection_joins_as_well() {
    let hold = Hold::default();
    let held = hold.clone();
    let gateway = Setup::with(Book::default().check(move |_| Check::Wait(held.clone()))).start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut lost = gateway.connect("t1", "u", "d");
    lost.send(single("m", "v", b"x"));
    wait_until("the first waits", || hold.waiting() == 1);
    drop(lost);
    let mut u = gateway.connect("t1", "u", "d");
    u.send(single("m", "v", b"x"));
    let hits = gateway.node.metrics.dedup_hits_total.with_label_values(&["t1"]);
    wait_until("the second has joined", || hits.get() == 1);
    hold.release();
    assert_eq!(u.ack().status, AckStatus::Sent as i32);
    assert_eq!(u.say(single("mark", "v", b"x")).reason, "");
    assert_eq!(v.ids(2), ["m", "mark"]);
}

#[test]
fn a_failed_attempt_may_be_repeated() {
    let denied_once = std::sync::atomic::AtomicBool::new(false);
    let book = Book::default().check(move |_| match denied_once.swap(true, std::sync::atomic::Ordering::SeqCst) {
        false => Check::Deny("not yet"),
        true => Check::Allow,
    });
    let gateway = Setup::with(book).start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    assert_eq!(u.say(single("m", "v", b"x")).reason, "not yet");
    let second = u.say(single("m", "v", b"x"));
    assert_eq!((second.status, &*second.reason), (AckStatus::Sent as i32, ""));
    assert_eq!(u.say(single("m", "v", b"x")).reason, "duplicate");
    u.say(single("mark", "v", b"x"));
    assert_eq!(v.ids(2), ["m", "mark"]);
}
