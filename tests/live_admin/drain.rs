//! A node that leaves because an operator says so.

use std::time::Duration;

use super::api::{Administered, call, operator, text};
use super::processes::wait;
use super::redis_support::redis_is_missing;
use super::users::User;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_to_leaves_in_order_and_loses_nothing() {
    if redis_is_missing("a_node_that_is_told_to_leaves_in_order_and_loses_nothing") {
        return;
    }
    let mut admin = Administered::start(2, |_| {}).await;
    let (there, elsewhere) =
        (User::at(&admin.cluster.nodes[0], "alice").await, User::at(&admin.cluster.nodes[1], "bob").await);
    for n in 0..20 {
        elsewhere.tell("dave", &format!("m-{n}")).await;
    }
    let output = admin.command(0, &["drain", "--wait"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).starts_with("node-1 is leaving"), "{}", text(&output));
    assert_eq!(there.closed().await, 4200);
    assert_eq!(admin.cluster.nodes[0].ready(), 503);
    let nodes = admin.get("/admin/v1/nodes").body;
    let here = nodes["nodes"].as_array().unwrap().iter().find(|node| node["here"] == true).unwrap().clone();
    assert_eq!((&here["state"], &here["connections"]), (&"drained".into(), &0.into()));
    let refused = admin.post("/admin/v1/tenants/t1/messages", r#"{"to_user":"bob","text":"x"}"#);
    assert_eq!(refused.problem(), (503, "draining"));
    let again = admin.post("/admin/v1/drain", "");
    assert_eq!((again.status, &again.body["already"]), (202, &true.into()));

    // The others go on, and have what it kept.
    let of_other = || call(admin.ports[1], "GET", "/admin/v1/nodes", &[operator()], "").body["nodes"].clone();
    wait("the other one is alone", || of_other().as_array().is_some_and(|nodes| nodes.len() == 1)).await;
    elsewhere.still_connected();
    let dave = User::at(&admin.cluster.nodes[1], "dave").await;
    dave.got(&(0..20).map(|n| format!("m-{n}")).collect::<Vec<_>>()).await;

    // What was done already is not done again at the end.
    let (code, took) = admin.cluster.nodes[0].stop().await;
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(8), "the drain time is 10 s, and was not used up again: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_while_it_leaves_ends_when_it_has_left() {
    if redis_is_missing("a_process_that_is_stopped_while_it_leaves_ends_when_it_has_left") {
        return;
    }
    let mut admin = Administered::start(2, |_| {}).await;
    let mut users = Vec::new();
    for n in 0..30 {
        users.push(User::at(&admin.cluster.nodes[0], &format!("user{n}")).await);
    }
    let alice = User::at(&admin.cluster.nodes[1], "alice").await;
    for n in 0..30 {
        alice.tell(&format!("away{n}"), "m-1").await;
    }
    assert_eq!(admin.post("/admin/v1/drain", "").status, 202);
    let (code, _) = admin.cluster.nodes[0].stop().await;
    assert_eq!(code, 0);
    for user in &users {
        assert_eq!(user.closed().await, 4200, "asked to go, not cut off");
    }
    for n in 0..30 {
        User::at(&admin.cluster.nodes[1], &format!("away{n}")).await.got(&["m-1".into()]).await;
    }
}
