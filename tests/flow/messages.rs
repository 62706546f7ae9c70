//! One-to-one messages: the order of checks, what the gateway fills in, whom a message reaches, in which order.

use mics_domain::policy::HookFailure;
use mics_proto::message::{AckStatus, MessageAck, MessageRequest};

use crate::support::client::{group, single};
use crate::support::{Book, Check, Client, Frame, Setup, wait_until};

fn failed(ack: &MessageAck) -> &str {
    assert_eq!(ack.status, AckStatus::Failed as i32, "{ack:?}");
    &ack.reason
}

fn sent(ack: &MessageAck) {
    assert_eq!((ack.status, &*ack.reason), (AckStatus::Sent as i32, ""), "{}", ack.msg_id);
}

#[test]
fn a_message_reaches_every_device_of_the_recipient_and_no_other() {
    let gateway = Setup::default().start();
    let mut phone = gateway.connect("t1", "u2", "phone");
    let mut laptop = gateway.connect("t1", "u2", "laptop");
    let mut stranger = gateway.connect("t1", "u3", "phone");
    let mut own_other = gateway.connect("t1", "u1", "tablet");
    let mut u1 = gateway.connect("t1", "u1", "phone");
    sent(&u1.say(single("m", "u2", b"hello")));
    assert_eq!(&phone.delivery().msg_body[..], b"hello");
    assert_eq!(&laptop.delivery().msg_body[..], b"hello");
    // What comes next to the others is not that message.
    sent(&u1.say(single("mark-3", "u3", b"x")));
    u1.send(single("mark-1", "u1", b"x"));
    assert_eq!(u1.delivery().msg_id, "mark-1", "to oneself");
    sent(&u1.ack());
    assert_eq!(stranger.delivery().msg_id, "mark-3");
    assert_eq!(own_other.delivery().msg_id, "mark-1");
}

#[test]
fn refusals_come_in_the_order_of_checks() {
    let book = Book::default().check(|_| Check::Deny("no such luck"));
    let gateway = Setup::with(book).set(|settings| settings.max_message_bytes = 100).start();
    let mut client = gateway.connect("t1", "u", "d");
    let other = |msg_type| MessageRequest { msg_type, ..single("m", "v", b"x") };
    let cases: [(MessageRequest, &str); 14] = [
        (single("m", "", &[0; 101]), "msg_body_too_large"),
        (MessageRequest { msg_body: vec![0; 101].into(), ..other(9) }, "msg_body_too_large"),
        (single("m", "", b"x"), "missing to_user_id"),
        (single("m", " \u{3000}\t", b"x"), "missing to_user_id"),
        (single("m", "a\u{0}b", b"x"), "invalid to_user_id"),
        (single("m", "a\r\nb", b"x"), "invalid to_user_id"),
        (single("m", &"v".repeat(257), b"x"), "invalid to_user_id"),
        (group("m", ""), "missing group_id"),
        (group("m", "  "), "missing group_id"),
        (group("m", "g\u{7f}"), "invalid group_id"),
        (other(2), "invalid msg_type"),
        (other(-1), "invalid msg_type"),
        (single(&"i".repeat(257), "v", b"x"), "invalid msg_id"),
        (single("m", "v", &[0; 100]), "no such luck"),
    ];
    for (message, reason) in cases {
        let msg_id = message.msg_id.clone();
        let ack = client.say(message);
        assert_eq!(failed(&ack), reason);
        assert_eq!(ack.msg_id, msg_id);
    }
    assert_eq!(gateway.book.checked.lock().unwrap().len(), 1, "the hook is asked last");
}

#[test]
fn the_hook_denies_with_its_own_words_even_none() {
    let book = Book::default().check(|message| match &*message.msg_id {
        "wordless" => Check::Deny(""),
        _ => Check::Deny("spam, says the tenant"),
    });
    let gateway = Setup::with(book).start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    assert_eq!(failed(&u.say(single("1", "v", b"x"))), "spam, says the tenant");
    assert_eq!(failed(&u.say(single("wordless", "v", b"x"))), "");
    v.ping();
    v.pong();
}

#[test]
fn a_failing_check_lets_messages_pass_unless_the_tenant_chose_otherwise() {
    let book = Book::default().check(|_| Check::Fail(HookFailure::Http5xx));
    let strict = |settings: &mut mics_actors::settings::Settings| {
        settings.tenants.get_mut("t2").unwrap().deny_when_degraded = true;
    };
    let gateway = Setup::with(book).set(strict).start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    for n in 0..8 {
        sent(&u.say(single(&n.to_string(), "v", b"x")));
    }
    assert_eq!(v.ids(8).len(), 8);
    let mut u = gateway.connect("t2", "u", "d");
    for n in 0..8 {
        let expected = if n < 5 { "hook degraded" } else { "hook circuit open" };
        assert_eq!(failed(&u.say(single(&n.to_string(), "v", b"x"))), expected);
    }
}

#[test]
fn the_tenants_rate_limit_refuses_the_surplus_of_a_second() {
    let book = Book::default().config("t1", |config| config.tenant_max_message_qps = 5);
    let gateway = Setup::with(book).start();
    let mut u = gateway.connect("t1", "u", "d");
    let mut other_tenant = gateway.connect("t2", "u", "d");
    // However the messages fall on seconds: until one is refused, and again until one is let through.
    let mut count = 0;
    let mut say_until = |limited: bool| {
        wait_until("the limit's answer changes", || {
            count += 1;
            let ack = u.say(single(&count.to_string(), "v", b"x"));
            assert!(["", "tenant qps limited"].contains(&&*ack.reason), "{ack:?}");
            assert_eq!(ack.status == AckStatus::Failed as i32, !ack.reason.is_empty());
            ack.reason.is_empty() != limited
        });
    };
    say_until(true);
    sent(&other_tenant.say(single("1", "v", b"x")));
    say_until(false);
    assert!(gateway.node.metrics.rate_limited_total.with_label_values(&["t1", "message_qps"]).get() > 0);
}

#[test]
fn identity_is_the_sessions_whatever_the_client_claims() {
    let gateway = Setup::default().start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "phone");
    let mut forged = single("m", "v", b"x");
    (forged.tenant_id, forged.user_id, forged.device_id) = ("t2".into(), "boss".into(), "desk".into());
    sent(&u.say(forged));
    let got = v.delivery();
    assert_eq!((&*got.tenant_id, &*got.user_id, &*got.device_id), ("t1", "u", "phone"));
    let checked = gateway.book.checked.lock().unwrap()[0].clone();
    assert_eq!((&*checked.tenant, &*checked.user, &*checked.device), ("t1", "u", "phone"));
}

#[test]
fn a_missing_id_and_time_are_filled_in_and_given_ones_are_kept() {
    let gateway = Setup::default().start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    for blank in ["", "  "] {
        let ack = u.say(MessageRequest { timestamp_ms: 0, ..single(blank, "v", b"x") });
        let got = v.delivery();
        assert_eq!(got.msg_id, ack.msg_id);
        assert_eq!(got.msg_id.len(), 32);
        assert!(got.msg_id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
        assert!(got.timestamp_ms > 1_771_000_000_000);
    }
    sent(&u.say(MessageRequest { timestamp_ms: -5, ..single("mine", "v", b"") }));
    let got = v.delivery();
    assert_eq!((&*got.msg_id, got.timestamp_ms, got.msg_body.len()), ("mine", -5, 0));
}

#[test]
fn unknown_fields_of_a_message_reach_the_recipient() {
    use mics_proto::prost::Message as _;
    let gateway = Setup::default().start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    let future = [0x9a, 0x06, 0x03, b'n', b'e', b'w', 0xa0, 0x06, 0x2a];
    let mut request = single("m", "v", b"x").encode_to_vec();
    request.extend(future);
    let mut frame = vec![0x0a, request.len() as u8];
    frame.extend(&request);
    u.binary(&frame);
    sent(&u.ack());
    let Frame::Binary(bytes) = v.next() else { panic!("a delivery") };
    assert!(bytes.ends_with(&future), "{bytes:02x?}");
}

#[test]
fn two_hundred_pipelined_messages_keep_their_order_under_a_hook_of_changing_speed() {
    let book = Book::default().check(|message| {
        let number: u64 = message.msg_id.parse().unwrap();
        Check::Delay(number * 7_919 % 23)
    });
    let gateway = Setup::with(book).start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    let ids: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    for id in &ids {
        u.send(single(id, "v", b"x"));
    }
    for id in &ids {
        let ack = u.ack();
        sent(&ack);
        assert_eq!(&ack.msg_id, id);
    }
    assert_eq!(v.ids(200), ids);
}

#[test]
fn order_holds_when_messages_between_are_refused_or_crash() {
    let book = Book::default().check(|message| match message.msg_id.parse::<u64>().unwrap() {
        n if n % 5 == 1 => Check::Deny("no"),
        n if n % 5 == 3 => Check::Panic,
        n => Check::Delay(n % 11),
    });
    let gateway = Setup::with(book).start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    for n in 0..50 {
        u.send(single(&n.to_string(), "v", b"x"));
    }
    for n in 0..50 {
        let ack = u.ack();
        assert_eq!(ack.msg_id, n.to_string());
        assert_eq!(ack.reason, ["", "no", "", "internal error", ""][n % 5]);
    }
    let delivered: Vec<String> = (0..50).filter(|n| ![1, 3].contains(&(n % 5))).map(|n| n.to_string()).collect();
    assert_eq!(v.ids(delivered.len()), delivered);
}

#[test]
fn heartbeats_are_answered_while_messages_wait_for_the_hook() {
    let hold = crate::support::Hold::default();
    let held = hold.clone();
    let gateway = Setup::with(Book::default().check(move |_| Check::Wait(held.clone()))).start();
    let mut u = gateway.connect("t1", "u", "d");
    for n in 0..16 {
        u.send(single(&n.to_string(), "v", b"x"));
    }
    wait_until("all wait for the hook", || hold.waiting() == 16);
    u.ping();
    u.pong();
    hold.release();
    (0..16).for_each(|_| sent(&u.ack()));
}

#[test]
fn a_client_that_sends_and_leaves_has_still_sent() {
    let hold = crate::support::Hold::default();
    let held = hold.clone();
    let gateway = Setup::with(Book::default().check(move |_| Check::Wait(held.clone()))).start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    u.send(single("last words", "v", b"x"));
    wait_until("the message is under way", || hold.waiting() == 1);
    drop(u);
    wait_until("the sender is gone", || gateway.sessions("t1") == 1);
    hold.release();
    assert_eq!(v.delivery().msg_id, "last words");
}

#[test]
fn two_tenants_with_mirrored_ids_never_meet() {
    let members = ["u", "v"];
    let book = Book::default().group("t1", "g", members).group("t2", "g", members);
    let gateway = Setup::with(book).start();
    let mut clients = ["t1", "t2"].map(|tenant| (gateway.connect(tenant, "u", "d"), gateway.connect(tenant, "v", "d")));
    for (round, tenant) in ["t1", "t2"].iter().enumerate() {
        let (u, _) = &mut clients[round];
        let mut message = single("same", "v", tenant.as_bytes());
        message.tenant_id = "t1".into();
        // Not a duplicate of the other tenant's message with the same id.
        sent(&u.say(message));
        u.send(group("same-group", "g"));
        assert_eq!(u.delivery().tenant_id, *tenant);
        sent(&u.ack());
    }
    for ((_, v), tenant) in clients.iter_mut().zip(["t1", "t2"]) {
        let (first, second) = (v.delivery(), v.delivery());
        assert_eq!((&*first.tenant_id, &first.msg_body[..]), (tenant, tenant.as_bytes()));
        assert_eq!((&*second.tenant_id, &*second.group_id), (tenant, "g"));
        v.ping();
        v.pong();
    }
}

#[test]
fn large_messages_reach_a_slow_reader_whole_and_in_order() {
    let gateway = Setup::default().set(|settings| settings.outbox_max_bytes = 64 << 20).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    let mut reader = Client::open_with(gateway.address, "tenantId=t1&token=valid:v&deviceId=d", Some(4_096));
    reader.welcome();
    let body = |n: usize| (0..700_000 + n).map(|at| (at * 31 + n) as u8).collect::<Vec<u8>>();
    for n in 0..20 {
        assert_eq!(sender.say(single(&n.to_string(), "v", &body(n))).reason, "");
    }
    for n in 0..20 {
        let message = reader.delivery();
        assert!(message.msg_id == n.to_string() && message.msg_body == body(n), "the {n}th message");
    }
}
