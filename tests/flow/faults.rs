//! Faults inside the node and what operators may see: a crashed supervisor heals, tenants do not notice each other, and
//! nothing secret is shown.

use mics_actors::tenant::TenantMsg;

use crate::support::book::SECRET;
use crate::support::client::{group, single};
use crate::support::{Book, Check, Setup, hex, wait_until};

#[test]
fn a_tenant_supervisor_that_panics_is_started_afresh_and_nobody_loses_a_connection() {
    let gateway = Setup::default().start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    let mut other_v = gateway.connect("t2", "v", "d");
    let mut other_u = gateway.connect("t2", "u", "d");
    let tenant = gateway.node.tenants().get("t1").unwrap().clone();
    let restarts = gateway.node.metrics.actor_restarts_total.with_label_values(&["tenant_supervisor", "t1"]);
    let others = gateway.node.metrics.actor_restarts_total.with_label_values(&["tenant_supervisor", "t2"]);
    for crash in 1..=3 {
        assert!(tenant.supervisor().send(TenantMsg::Crash).is_ok());
        // Messages of the other tenant pass all the time.
        let mut sent = 0;
        wait_until("the supervisor has ended", || {
            sent += 1;
            let id = format!("{crash}-{sent}");
            assert_eq!(other_u.say(single(&id, "v", b"x")).reason, "");
            assert_eq!(other_v.delivery().msg_id, id);
            restarts.get() == crash
        });
        let id = format!("after-{crash}");
        assert_eq!(u.say(single(&id, "v", b"x")).reason, "");
        assert_eq!(v.delivery().msg_id, id);
        let mut newcomer = gateway.connect("t1", &format!("new{crash}"), "d");
        newcomer.ping();
        newcomer.pong();
    }
    assert_eq!(others.get(), 0);
    assert!(!gateway.node.draining());
}

#[test]
fn the_offline_buffer_survives_the_supervisors_crash() {
    let gateway = Setup::default().start();
    let mut u = gateway.connect("t1", "u", "d");
    assert_eq!(u.say(single("kept", "v", b"x")).reason, "");
    let tenant = gateway.node.tenants().get("t1").unwrap().clone();
    assert!(tenant.supervisor().send(TenantMsg::Crash).is_ok());
    let restarts = gateway.node.metrics.actor_restarts_total.with_label_values(&["tenant_supervisor", "t1"]);
    wait_until("the supervisor has ended", || restarts.get() == 1);
    assert_eq!(gateway.connect("t1", "v", "d").delivery().msg_id, "kept");
}

#[test]
fn a_tenant_whose_hook_hangs_slows_no_other_tenant() {
    let hold = crate::support::Hold::default();
    let held = hold.clone();
    let book = Book::default().check(move |message| match &*message.tenant {
        "t1" => Check::Wait(held.clone()),
        _ => Check::Allow,
    });
    let gateway = Setup::with(book).set(|settings| settings.hooks.max_concurrency = 4).start();
    let mut stuck: Vec<_> = (0..8).map(|n| gateway.connect("t1", &format!("u{n}"), "d")).collect();
    for client in &mut stuck {
        client.send(single("m", "v", b"x"));
    }
    wait_until("the hook hangs", || hold.waiting() == 4);
    let mut v = gateway.connect("t2", "v", "d");
    let mut u = gateway.connect("t2", "u", "d");
    for n in 0..100 {
        assert_eq!(u.say(single(&n.to_string(), "v", b"x")).reason, "");
    }
    assert_eq!(v.ids(100).len(), 100);
    hold.release();
    stuck.iter_mut().for_each(|client| assert_eq!(client.ack().reason, ""));
}

#[test]
fn the_metrics_have_the_contracts_names_and_labels() {
    let book = Book::default().group("t1", "g", ["v", "nobody"]).config("t1", |config| config.user_max_connections = 1);
    let gateway = Setup::with(book).set(|settings| settings.max_message_bytes = 100).start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    for message in
        [single("1", "v", b"x"), single("1", "v", b"x"), single("2", "", b"x"), single("3", "w", b"x"), group("4", "g")]
    {
        u.say(message);
    }
    v.ids(2);
    u.binary(&[0; 100 + 65_537]);
    u.error();
    assert_eq!(gateway.open("tenantId=t1&token=valid:u&deviceId=second").closed().0, 4429);
    drop(v);
    wait_until("one session is gone", || gateway.sessions("t1") == 1);
    let (status, text) = gateway.get("/metrics");
    assert_eq!(status, 200);
    let lines = [
        r#"mics_ws_connections{node="node-1"} 1"#,
        r#"mics_ws_connections_events_total{delta="inc",node="node-1",tenant="t1"} 2"#,
        r#"mics_ws_connected_total{node="node-1",tenant="t1"} 2"#,
        r#"mics_ws_disconnected_total{node="node-1",tenant="t1"} 1"#,
        r#"mics_ws_frames_rejected_total{reason="frame_too_large",tenant="t1"} 1"#,
        r#"mics_messages_in_total{tenant="t1",type="SingleChat"} 3"#,
        r#"mics_messages_in_total{tenant="t1",type="GroupChat"} 1"#,
        r#"mics_messages_rejected_total{reason="missing to_user_id",tenant="t1"} 1"#,
        r#"mics_dedup_hits_total{tenant="t1"} 1"#,
        r#"mics_rate_limited_total{kind="connection_limit",tenant="t1"} 1"#,
        r#"mics_deliveries_total{tenant="t1",via="local"} 2"#,
        r#"mics_group_messages_total{tenant="t1"} 1"#,
        r#"mics_group_members_total{tenant="t1"} 2"#,
        r#"mics_group_offline_buffered_total{tenant="t1"} 1"#,
        r#"mics_offline_buffered_total{tenant="t1",via="local"}"#,
        r#"mics_hook_requests_total{op="Auth",result="ok",tenant="t1"} 3"#,
        r#"mics_hook_requests_total{op="CheckMessage",result="ok",tenant="t1"} 3"#,
        r#"mics_hook_check_message_total{result="allow",tenant="t1"} 3"#,
        r#"mics_hook_get_group_members_total{result="ok",tenant="t1"} 1"#,
        r#"mics_hook_duration_ms_bucket{op="Auth",tenant="t1",le="150"} "#,
        r#"mics_hook_duration_ms_sum{op="Auth",tenant="t1"} "#,
        r#"mics_hook_duration_ms_count{op="Auth",tenant="t1"} 3"#,
        "# HELP mics_ws_connected_total ",
        "# TYPE mics_hook_duration_ms histogram",
    ];
    for line in lines {
        assert!(text.contains(line), "missing: {line}\n{text}");
    }
}

#[test]
fn no_token_secret_or_body_is_shown_to_operators() {
    let gateway = Setup::default().start();
    let mut v = gateway.connect("t1", "v", "d");
    let mut u = gateway.open("tenantId=t1&token=valid:u~token-to-hide&deviceId=d");
    u.welcome();
    u.say(single("m", "v", b"body-to-hide"));
    u.say(single("n", "offline", b"body-to-hide"));
    v.delivery();
    assert_eq!(gateway.open("tenantId=t1&token=bad-token-to-hide&deviceId=d").closed().0, 4001);
    gateway.get("/ws?tenantId=t1&token=token-to-hide&deviceId=d");
    for path in ["/metrics", "/debug/actors", "/debug/events"] {
        let (status, text) = gateway.get(path);
        assert_eq!(status, 200, "{path}");
        for secret in ["token-to-hide", "body-to-hide", SECRET] {
            assert!(!text.contains(secret), "{path} shows {secret}");
            assert!(!text.contains(&hex(secret.as_bytes())), "{path} shows {secret} in hex");
        }
    }
}
