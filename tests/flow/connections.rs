//! From handshake to close: who is let in, with which code others are refused, and how connections end.

use std::collections::BTreeMap;
use std::time::Duration;

use mics_domain::policy::HookFailure;

use crate::support::client::{self, single};
use crate::support::{Book, Client, Frame, Gateway, Hold, Setup, http_get, wait_until};

/// (code, reason) with which a newcomer is refused; no other frame may come before it.
fn refused(gateway: &Gateway, query: &str) -> (u16, String) {
    match gateway.open(query).next() {
        Frame::Close(Some(code), reason) => (code, reason),
        other => panic!("{query}: expected a close frame first, got {other:?}"),
    }
}

#[test]
fn connect_ack_is_the_first_frame_even_while_messages_for_the_user_arrive() {
    let gateway = Setup::default().start();
    let mut sender = gateway.connect("t1", "sender", "d");
    let mut first = gateway.connect("t1", "u", "first");
    for round in 0..20 {
        for message in 0..20 {
            sender.send(single(&format!("{round}-{message}"), "u", b"x"));
        }
        let mut newcomer = gateway.open(&format!("tenantId=t1&token=valid:u&deviceId=d{round}"));
        assert_eq!(newcomer.welcome().code, 1000);
        assert_eq!(first.ids(20).len(), 20);
        assert!((0..20).all(|_| sender.ack().reason.is_empty()));
    }
}

#[test]
fn connect_ack_names_tenant_user_device_node_and_trace() {
    let gateway = Setup::default().start();
    let ack = gateway.open("TENANTID=t1&Token=valid%3Au+1&deviceid=my%20phone").welcome();
    assert_eq!((ack.code, &*ack.tenant_id, &*ack.user_id, &*ack.device_id), (1000, "t1", "u 1", "my phone"));
    assert_eq!((&*ack.node_id, ack.trace_id.len()), ("node-1", 32));
}

#[test]
fn newcomers_are_refused_with_the_codes_of_the_contract() {
    let gateway = Setup::default().start();
    let cases = [
        ("tenantId=t1&token=bad&deviceId=d", 4001, "invalid token"),
        ("tenantId=t1&deviceId=d", 4001, "invalid token"),
        ("tenantId=nobody&token=valid:u&deviceId=d", 4002, "invalid tenant"),
        ("tenantId=&token=valid:u&deviceId=d", 4002, "invalid tenant"),
        ("tenantId=%20&token=valid:u&deviceId=d", 4002, "invalid tenant"),
        ("token=valid:u&deviceId=d", 4002, "invalid tenant"),
        ("tenantId=t1&token=valid:u", 4001, "invalid deviceId"),
        ("tenantId=t1&token=valid:u&deviceId=", 4001, "invalid deviceId"),
        ("tenantId=t1&token=valid:u&deviceId=a%00b", 4001, "invalid deviceId"),
        ("tenantId=t1&token=valid:&deviceId=d", 4001, "invalid user id"),
    ];
    for (query, code, reason) in cases {
        assert_eq!(refused(&gateway, query), (code, reason.into()), "{query}");
    }
    wait_until("nobody is left", || gateway.node.connections() == 0);
    assert_eq!(gateway.sessions("t1"), 0);
}

#[test]
fn a_dead_auth_hook_refuses_with_4001_and_then_opens_the_circuit() {
    let gateway = Setup::with(Book::default().auth_fails(HookFailure::Network)).start();
    let query = "tenantId=t1&token=valid:u&deviceId=d";
    for _ in 0..5 {
        assert_eq!(refused(&gateway, query), (4001, "hook timeout/failure".into()));
    }
    assert_eq!(refused(&gateway, query), (4001, "auth hook circuit open".into()));
}

#[test]
fn those_who_come_together_wait_for_their_turn_where_the_auth_hook_has_few_permits() {
    let hold = Hold::default();
    let setup = Setup::with(Book::default().hold_late_comers(&hold)).set(|settings| settings.hooks.max_concurrency = 4);
    let gateway = setup.start();
    let query = |n: usize| format!("tenantId=t1&token=valid:late{n}&deviceId=d");
    let mut clients: Vec<Client> = (0..12).map(|n| gateway.open(&query(n))).collect();
    wait_until("the hook is as busy as it may be", || hold.waiting() == 4);
    // Longer than anybody waits for a permit.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(hold.waiting(), 4);
    hold.release();
    clients.iter_mut().for_each(|client| assert_eq!(client.welcome().code, 1000));
}

/// Of `late0` to `late<n>`: the first has the only turn, and its /auth waits; the others wait for their turn.
fn queue(gateway: &Gateway, hold: &Hold, n: usize) -> Vec<Client> {
    let query = |n: usize| format!("tenantId=t1&token=valid:late{n}&deviceId=d");
    let mut clients = vec![gateway.open(&query(0))];
    wait_until("the first is being let in", || hold.waiting() == 1);
    clients.extend((1..=n).map(|n| gateway.open(&query(n))));
    wait_until("the others wait", || gateway.node.handshakes() == n + 1);
    clients
}

fn with_one_turn(hold: &Hold) -> Gateway {
    let setup = Setup::with(Book::default().hold_late_comers(hold));
    setup.set(|settings| settings.hooks.max_concurrency = 1).start()
}

#[test]
fn who_hangs_up_while_waiting_for_a_turn_costs_no_auth_call_and_is_never_online() {
    let hold = Hold::default();
    let gateway = with_one_turn(&hold);
    let mut clients = queue(&gateway, &hold, 3);
    let (mut last, mut polite, gone) = (clients.pop().unwrap(), clients.pop().unwrap(), clients.pop().unwrap());
    drop(gone);
    polite.close(1000);
    assert_eq!(polite.closed().0, 1000);
    drop(polite);
    wait_until("those who went have left the queue", || gateway.node.handshakes() == 2);
    hold.release();
    clients[0].welcome();
    last.welcome();
    assert_eq!(hold.waiting(), 2, "nobody asked about those who had gone");
    let online = gateway.node.metrics.ws_connected_total.with_label_values(&["t1", "node-1"]);
    assert_eq!(online.get(), 2);
}

#[test]
fn who_still_waits_for_a_turn_when_the_node_or_the_tenant_leaves_is_told_without_an_auth_call() {
    let hold = Hold::default();
    let gateway = with_one_turn(&hold);
    let mut clients = queue(&gateway, &hold, 1);
    let without_t1 = |mut all: BTreeMap<_, _>| {
        all.remove("t1");
        all
    };
    gateway.node.change_tenants(&without_t1(gateway.node.settings.tenants.clone()));
    hold.release();
    clients.iter_mut().for_each(|client| assert_eq!(client.closed().0, 4002));
    assert_eq!(hold.waiting(), 1);

    let hold = Hold::default();
    let mut gateway = with_one_turn(&hold);
    let mut clients = queue(&gateway, &hold, 1);
    gateway.begin_stop();
    wait_until("the node drains", || gateway.node.draining());
    hold.release();
    clients.iter_mut().for_each(|client| assert_eq!(client.closed().0, 4200));
    assert_eq!(hold.waiting(), 1);
}

#[test]
fn the_comers_of_one_tenant_leave_room_for_another_tenants() {
    for places in [2, 3, 4, 8] {
        let hold = Hold::default();
        let setup = Setup::with(Book::default().hold_late_comers(&hold));
        let gateway = setup.set(|settings| settings.max_pending_handshakes = places).start();
        let share = places * 3 / 4;
        let comer = |n: usize| gateway.open(&format!("tenantId=t1&token=valid:late{n}&deviceId=d"));
        let mut clients: Vec<Client> = (0..share).map(comer).collect();
        wait_until("they have their share", || hold.waiting() == share);
        for n in 0..places {
            assert_eq!(comer(places + n).closed().0, 4429, "{places} places");
            wait_until("the refused one is no handshake", || gateway.node.handshakes() == share);
        }
        gateway.connect("t2", "u", "d");
        hold.release();
        clients.iter_mut().for_each(|client| assert_eq!(client.welcome().code, 1000));
    }
}

#[test]
fn without_an_upgrade_the_answer_is_400_and_unknown_paths_are_404() {
    let gateway = Setup::default().start();
    for path in ["/ws", "/WS/", "/ws?tenantId=t1&token=valid:u&deviceId=d"] {
        assert_eq!(http_get(gateway.address, path).0, 400, "{path}");
    }
    assert_eq!(http_get(gateway.address, "/elsewhere").0, 404);
    assert_eq!(http_get(gateway.address, "/healthz").0, 200);
    assert_eq!(http_get(gateway.address, "/readyz").0, 200);
}

#[test]
fn a_clients_close_is_answered_with_its_own_code() {
    let gateway = Setup::default().start();
    for code in [1000, 1001, 3000, 4999] {
        let mut client = gateway.connect("t1", "u", "d");
        client.close(code);
        assert_eq!(client.closed(), (code, String::new()));
        assert_eq!(client.next(), Frame::End);
    }
    let mut client = gateway.connect("t1", "u", "d");
    client.frame(8, true, b"");
    assert_eq!(client.next(), Frame::Close(None, String::new()));
    wait_until("nobody is left", || gateway.sessions("t1") == 0);
}

#[test]
fn a_silent_client_is_closed_with_4100_and_an_active_one_is_not() {
    let book = Book::default().config("t1", |config| config.heartbeat_timeout_ms = 2_000);
    let gateway = Setup::with(book).start();
    let mut silent = gateway.connect("t1", "silent", "d");
    let mut noisy = gateway.connect("t1", "noisy", "d");
    let mut active = gateway.connect("t1", "active", "d");
    let timed_out = gateway.node.metrics.ws_heartbeat_timeouts_total.with_label_values(&["t1"]);
    wait_until("both silent clients are closed", || {
        assert!(active.ping());
        active.pong();
        // Protocol pings and text are no sign of life.
        noisy.frame(9, true, b"");
        noisy.frame(1, true, b"hello");
        std::thread::sleep(Duration::from_millis(20));
        timed_out.get() == 2
    });
    assert_eq!(silent.closed(), (4100, "heartbeat timeout".into()));
    assert_eq!(noisy.closed(), (4100, "heartbeat timeout".into()));
    assert!(active.ping());
    active.pong();
}

#[test]
fn the_newest_connection_of_a_device_wins_and_the_old_one_is_closed_with_4409() {
    let gateway = Setup::default().start();
    let mut old = gateway.connect("t1", "u", "phone");
    let mut other = gateway.connect("t1", "u", "laptop");
    let mut new = gateway.connect("t1", "u", "phone");
    assert_eq!(old.closed(), (4409, "replaced".into()));
    wait_until("the old session is gone", || gateway.node.connections() == 2);
    let mut sender = gateway.connect("t1", "sender", "d");
    assert_eq!(sender.say(single("m", "u", b"x")).reason, "");
    assert_eq!(new.delivery().msg_id, "m");
    assert_eq!(other.delivery().msg_id, "m");
}

#[test]
fn two_clients_that_keep_replacing_each_other_are_damped() {
    let gateway = Setup::default().start();
    let query = "tenantId=t1&token=valid:u&deviceId=shared";
    let mut latest = gateway.connect("t1", "u", "shared");
    for _ in 0..3 {
        let newer = gateway.connect("t1", "u", "shared");
        assert_eq!(latest.closed().0, 4409);
        latest = newer;
    }
    assert_eq!(refused(&gateway, query), (4429, "duplicate device".into()));
    latest.ping();
    latest.pong();
    gateway.connect("t1", "u", "another");
}

#[test]
fn connection_limits_of_user_and_tenant_refuse_newcomers_and_spare_the_others() {
    let book = Book::default().config("t1", |config| {
        config.user_max_connections = 2;
        config.tenant_max_connections = 3;
    });
    let gateway = Setup::with(book).start();
    let mut first = gateway.connect("t1", "u", "d1");
    let second = gateway.connect("t1", "u", "d2");
    let limited = (4429, "rate limited".to_owned());
    assert_eq!(refused(&gateway, "tenantId=t1&token=valid:u&deviceId=d3"), limited, "limit of the user");
    let _third = gateway.connect("t1", "v", "d1");
    assert_eq!(refused(&gateway, "tenantId=t1&token=valid:w&deviceId=d1"), limited, "limit of the tenant");
    let _other_tenant = gateway.connect("t2", "w", "d1");
    first.ping();
    first.pong();
    let counted = gateway.node.metrics.rate_limited_total.with_label_values(&["t1", "connection_limit"]);
    assert_eq!(counted.get(), 2);

    drop(second);
    wait_until("the place is free", || gateway.sessions("t1") == 2);
    wait_until("somebody may come in again", || {
        let mut client = gateway.open("tenantId=t1&token=valid:u&deviceId=d3");
        matches!(client.next(), Frame::Binary(_))
    });
}

#[test]
fn sockets_and_handshakes_beyond_the_nodes_limits_get_503() {
    let hold = Hold::default();
    let gateway = Setup::with(Book::default().hold_late_comers(&hold))
        .set(|settings| (settings.max_connections, settings.max_pending_handshakes) = (2, 1))
        .start();
    let query = |user: &str| format!("tenantId=t1&token=valid:{user}&deviceId=d");
    let mut late = gateway.open(&query("late"));
    wait_until("the handshake is under way", || hold.waiting() == 1);
    if crate::SECURED {
        // Refused before the handshake's work.
        Client::raw(gateway.address, b"x", true);
        let refused = &gateway.node.metrics.ws_handshakes_refused_total;
        assert_eq!(refused.with_label_values(&["max_pending_handshakes"]).get(), 1);
    } else {
        assert_eq!(client::upgrade_status(gateway.address, &query("u")), 503, "one handshake at a time");
    }
    hold.release();
    late.welcome();
    let _second = gateway.connect("t1", "u", "d");
    assert_eq!(client::upgrade_status(gateway.address, &query("v")), 503, "two sockets at most");
}

#[test]
fn a_node_that_leaves_closes_everybody_with_4200_and_refuses_newcomers_with_503() {
    let hold = Hold::default();
    let mut gateway = Setup::with(Book::default().hold_late_comers(&hold))
        .set(|settings| settings.drain_timeout = crate::support::PATIENCE)
        .start();
    let mut clients: Vec<Client> = (0..10).map(|n| gateway.connect("t1", &format!("u{n}"), "d")).collect();
    let mut late = gateway.open("tenantId=t1&token=valid:late&deviceId=d");
    wait_until("a handshake is under way", || hold.waiting() == 1);

    gateway.begin_stop();
    wait_until("the node drains", || gateway.node.draining());
    for client in &mut clients {
        assert_eq!(client.closed(), (4200, "server draining".into()));
    }
    assert_eq!(client::upgrade_status(gateway.address, "tenantId=t1&token=valid:u&deviceId=d"), 503);
    assert_eq!(http_get(gateway.address, "/ws").0, 503, "draining is checked first");
    assert_eq!(http_get(gateway.address, "/readyz").0, 503);
    assert_eq!(http_get(gateway.address, "/healthz").0, 200);

    hold.release();
    assert_eq!(late.closed(), (4200, "server draining".into()), "who was on the way in must leave too");
    drop((clients, late));
    gateway.stopped();
}
