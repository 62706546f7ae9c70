//! Group messages: who gets them, how often, and what the ack counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use mics_domain::policy::HookFailure;
use mics_domain::ports::{MembersPage, MembersQuestion};
use mics_proto::message::{AckStatus, MessageAck};

use crate::support::client::group;
use crate::support::{Book, Hold, Listing, Setup, wait_until};

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

/// A tenant that asked for pages of 4, with a group of `u0` to `u<n>`.
fn paged(members: usize) -> Book {
    let members = (0..members).map(|n| format!("u{n}"));
    Book::default().config("t1", |config| config.group_page_size = 4).group("t1", "g", members)
}

/// Status, reason, partial; notified, buffered, skipped.
fn told(ack: &MessageAck) -> (bool, &str, bool, [u32; 3]) {
    let counts = [ack.offline_notified_users, ack.offline_buffered_users, ack.offline_skipped_users];
    (ack.status == AckStatus::Sent as i32, &ack.reason, ack.partial_delivery, counts)
}

#[test]
fn pages_are_asked_for_in_turn_and_members_count_once_over_all_of_them() {
    let book = paged(0).group("t1", "g", ["u1", "u2", "", "u3", "u3", "u1", "u4", "u2", "u1", "u5"]);
    let gateway = Setup::with(book).start();
    let mut first = gateway.connect("t1", "u1", "d");
    let mut last = gateway.connect("t1", "u5", "d");
    let mut sender = gateway.connect("t1", "sender", "d");
    assert_eq!(told(&sender.say(group("m", "g"))), (true, "", false, [0, 3, 0]));
    for member in [&mut first, &mut last] {
        assert_eq!(member.delivery().msg_id, "m");
        member.ping();
        member.pong();
    }
    let question = |cursor: &str| MembersQuestion {
        group: "g".into(),
        cursor: cursor.into(),
        max_members: 4,
        known_version: String::new(),
    };
    assert_eq!(*gateway.book.listed.lock().unwrap(), ["", "4", "8"].map(question));
    assert_eq!(gateway.node.metrics.group_messages_total.with_label_values(&["t1"]).get(), 1);
    assert_eq!(gateway.node.metrics.group_members_total.with_label_values(&["t1"]).get(), 5);
}

#[test]
fn a_page_is_delivered_while_the_next_one_is_fetched_and_no_page_is_fetched_further_ahead() {
    let hold = Hold::default();
    let held = hold.clone();
    let book = paged(12).list(move |question| match &*question.cursor {
        "4" => Listing::Wait(held.clone()),
        _ => Listing::Answer,
    });
    let gateway = Setup::with(book).start();
    let mut first = gateway.connect("t1", "u0", "d");
    let mut last = gateway.connect("t1", "u11", "d");
    let mut sender = gateway.connect("t1", "sender", "d");
    sender.send(group("m", "g"));
    assert_eq!(first.delivery().msg_id, "m");
    wait_until("the second page is asked for", || hold.waiting() == 1);
    assert_eq!(gateway.book.cursors(), ["", "4"]);
    last.ping();
    last.pong();
    hold.release();
    assert_eq!(last.delivery().msg_id, "m");
    assert_eq!(told(&sender.ack()), (true, "", false, [0, 10, 0]));
}

#[test]
fn nothing_but_the_first_page_is_asked_for_before_the_check_has_allowed_the_message() {
    let book = paged(12).check(|_| crate::support::Check::Deny("no"));
    let gateway = Setup::with(book).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    assert_eq!(told(&sender.say(group("m", "g"))), (false, "no", false, [0, 0, 0]));
    assert!(gateway.book.cursors().iter().all(String::is_empty));
}

#[test]
fn a_later_page_that_fails_leaves_a_partial_delivery_and_says_why() {
    let book = paged(12).list(|question| match &*question.cursor {
        "8" => Listing::Fail(HookFailure::Timeout),
        _ => Listing::Answer,
    });
    let gateway = Setup::with(book).start();
    let mut member = gateway.connect("t1", "u5", "d");
    let mut sender = gateway.connect("t1", "sender", "d");
    assert_eq!(told(&sender.say(group("m", "g"))), (true, "hook degraded", true, [0, 7, 0]));
    assert_eq!(member.delivery().msg_id, "m");
    // It was delivered: a repetition must not reach the first members again.
    assert_eq!(sender.say(group("m", "g")).reason, "duplicate");
    member.ping();
    member.pong();
}

#[test]
fn a_later_page_that_fails_when_nobody_has_the_message_yet_is_a_failure_that_may_be_repeated() {
    let book = paged(8).list(|question| match &*question.cursor {
        "4" => Listing::Fail(HookFailure::Timeout),
        _ => Listing::Answer,
    });
    let gateway = Setup::with(book).set(|settings| settings.group_offline_max_users = 0).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    for _ in 0..2 {
        assert_eq!(told(&sender.say(group("m", "g"))), (false, "hook degraded", true, [0, 0, 4]));
    }
    assert_eq!(gateway.book.cursors(), ["", "4", "", "4"]);
}

#[test]
fn the_limit_counts_over_all_pages_and_those_within_it_get_the_message() {
    let gateway = Setup::with(paged(30)).set(|settings| settings.group_max_members = 10).start();
    let mut within = gateway.connect("t1", "u9", "d");
    let mut beyond = gateway.connect("t1", "u10", "d");
    let mut sender = gateway.connect("t1", "sender", "d");
    assert_eq!(told(&sender.say(group("m", "g"))), (true, "group too large", true, [0, 9, 0]));
    assert_eq!(within.delivery().msg_id, "m");
    beyond.ping();
    beyond.pong();
    assert_eq!(gateway.book.cursors(), ["", "4", "8"]);
    assert_eq!(gateway.node.metrics.group_members_over_limit_total.with_label_values(&["t1"]).get(), 2);
}

#[test]
fn a_group_whose_first_page_is_beyond_the_limit_reaches_nobody() {
    let gateway = Setup::with(paged(30)).set(|settings| settings.group_max_members = 3).start();
    let mut member = gateway.connect("t1", "u0", "d");
    let mut sender = gateway.connect("t1", "sender", "d");
    assert_eq!(told(&sender.say(group("m", "g"))), (false, "group too large", false, [0, 0, 0]));
    member.ping();
    member.pong();
    assert_eq!(gateway.book.cursors(), [""]);
}

#[test]
fn a_server_that_knows_no_pages_answers_all_members_at_once() {
    let gateway = Setup::with(paged(12).pageless()).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    assert_eq!(told(&sender.say(group("m", "g"))), (true, "", false, [0, 12, 0]));
    assert_eq!(gateway.book.cursors(), [""]);
}

#[test]
fn a_tenant_that_asked_for_nothing_gets_the_plain_question_and_may_answer_in_pages() {
    let members: Vec<String> = (0..7).map(|n| format!("u{n}")).collect();
    let gateway = Setup::with(Book::default().own_pages(3).group("t1", "g", members)).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    for id in ["1", "2"] {
        assert_eq!(told(&sender.say(group(id, "g"))), (true, "", false, [0, 7, 0]));
    }
    // Asked again for the second message, as though nothing were known.
    let question =
        |cursor: &str| MembersQuestion { group: "g".into(), cursor: cursor.into(), ..MembersQuestion::default() };
    assert_eq!(*gateway.book.listed.lock().unwrap(), ["", "3", "6", "", "3", "6"].map(question));
}

#[test]
fn pages_without_usable_members_are_passed_over_and_a_cursor_that_leads_nowhere_ends_the_list() {
    let page = |members: &[&str], next: &str| {
        Listing::Page(MembersPage {
            members: members.iter().map(|member| (*member).to_owned()).collect(),
            next_cursor: next.into(),
            ..MembersPage::default()
        })
    };
    let book = Book::default().list(move |question| match (&*question.group, &*question.cursor) {
        ("gaps", "") => page(&[], "1"),
        ("gaps", "1") => page(&["a", ""], "2"),
        ("gaps", "2") => page(&[" ", "a"], "3"),
        ("gaps", _) => page(&["b"], ""),
        ("blank", "") => page(&[" "], "1"),
        ("blank", _) => page(&[], ""),
        ("circle", _) => page(&["a"], "1"),
        _ => Listing::Page(MembersPage { not_modified: true, ..MembersPage::default() }),
    });
    let gateway = Setup::with(book).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    let mut say = |name| sender.say(group(name, name));
    assert_eq!(told(&say("gaps")), (true, "", false, [0, 2, 0]));
    assert_eq!(told(&say("blank")), (false, "group members empty", false, [0, 0, 0]));
    assert_eq!(told(&say("circle")), (true, "hook degraded", true, [0, 1, 0]));
    assert_eq!(told(&say("unasked")), (false, "hook degraded", false, [0, 0, 0]));
}

#[test]
fn a_list_is_believed_for_as_long_as_the_tenant_said_and_only_for_that_tenant() {
    let cached = |book: Book, tenant| book.config(tenant, |config| config.group_cache_ttl_ms = 3_600_000);
    let book = cached(cached(paged(10), "t1"), "t2").group("t2", "g", ["x"]);
    let gateway = Setup::with(book).start();
    let mut last = gateway.connect("t1", "u9", "d");
    let mut sender = gateway.connect("t1", "sender", "d");
    for id in ["1", "2", "3"] {
        assert_eq!(told(&sender.say(group(id, "g"))), (true, "", false, [0, 9, 0]));
        assert_eq!(last.delivery().msg_id, id);
    }
    assert_eq!(gateway.book.cursors(), ["", "4", "8"]);
    let lookups = &gateway.node.metrics.hook_get_group_members_total;
    assert_eq!(["ok", "cached"].map(|result| lookups.with_label_values(&["t1", result]).get()), [3, 2]);
    let mut other = gateway.connect("t2", "sender", "d");
    assert_eq!(told(&other.say(group("1", "g"))), (true, "", false, [0, 1, 0]));
    assert_eq!(gateway.book.cursors().len(), 4);
}

#[test]
fn a_list_of_an_incomplete_answer_is_not_kept() {
    let book = paged(12).config("t1", |config| config.group_cache_ttl_ms = 3_600_000);
    let gateway = Setup::with(book.list(|question| match &*question.cursor {
        "8" => Listing::Fail(HookFailure::Http5xx),
        _ => Listing::Answer,
    }));
    let gateway = gateway.start();
    let mut sender = gateway.connect("t1", "sender", "d");
    for id in ["1", "2"] {
        assert_eq!(told(&sender.say(group(id, "g"))), (true, "hook degraded", true, [0, 8, 0]));
    }
    assert_eq!(gateway.book.cursors(), ["", "4", "8", "", "4", "8"]);
}

#[test]
fn an_empty_list_is_not_kept() {
    let book = Book::default().config("t1", |config| config.group_cache_ttl_ms = 3_600_000);
    let gateway = Setup::with(book).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    assert_eq!(told(&sender.say(group("1", "g"))), (false, "group members empty", false, [0, 0, 0]));
    gateway.book.change_group("t1", "g", ["u1"]);
    assert_eq!(told(&sender.say(group("1", "g"))), (true, "", false, [0, 1, 0]));
}

#[test]
fn an_old_list_is_asked_about_by_its_version_and_not_believed_without_an_answer() {
    let failing = Arc::new(AtomicBool::new(false));
    let fails = failing.clone();
    let book = Book::default()
        .config("t1", |config| config.group_cache_ttl_ms = 1)
        .group("t1", "g", ["u1", "u2"])
        .list(move |_| if fails.load(SeqCst) { Listing::Fail(HookFailure::Network) } else { Listing::Answer });
    let gateway = Setup::with(book).start();
    let mut sender = gateway.connect("t1", "sender", "d");
    let mut sent = 0;
    let mut say = || {
        sent += 1;
        sender.say(group(&sent.to_string(), "g"))
    };
    assert_eq!(told(&say()), (true, "", false, [0, 2, 0]));
    let asked = |version: &str| gateway.book.listed.lock().unwrap().iter().any(|asked| asked.known_version == version);
    assert!(!asked("u1,u2"));
    wait_until("the list is old", || {
        // The answer is "not modified" and brings no members.
        assert_eq!(told(&say()), (true, "", false, [0, 2, 0]));
        asked("u1,u2")
    });
    gateway.book.change_group("t1", "g", ["u1", "u2", "u3"]);
    wait_until("the change is seen", || say().offline_buffered_users == 3);
    wait_until("the new version is asked about", || {
        say();
        asked("u1,u2,u3")
    });
    failing.store(true, SeqCst);
    wait_until("the list is old and the hook is down", || {
        let ack = say();
        ack.status == AckStatus::Failed as i32 && ack.reason == "hook degraded"
    });
}
