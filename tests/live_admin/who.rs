//! Where a user is, and having the user go, over the nodes.

use serde_json::json;

use super::api::{Administered, text};
use super::processes::{pause, wait};
use super::redis_support::redis_is_missing;
use super::users::{User, options};

const BOB: &str = "/admin/v1/tenants/t1/users/bob";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_devices_are_seen_and_closed_on_all_nodes() {
    if redis_is_missing("a_users_devices_are_seen_and_closed_on_all_nodes") {
        return;
    }
    let mut admin = Administered::start(2, |_| {}).await;
    let phone = User::try_at(admin.cluster.nodes[0].port, "bob", "phone", options(false)).await.expect("let in");
    let desk = User::try_at(admin.cluster.nodes[1].port, "bob", "desk", options(true)).await.expect("let in");
    let carol = User::at(&admin.cluster.nodes[1], "carol").await;

    let presence = admin.get(BOB).body;
    assert_eq!((&presence["online"], &presence["complete"]), (&json!(true), &json!(true)));
    let devices = presence["devices"].as_array().unwrap();
    let places: Vec<(&str, &str)> =
        devices.iter().map(|device| (device["device"].as_str().unwrap(), device["node"].as_str().unwrap())).collect();
    assert_eq!(places, [("desk", "node-2"), ("phone", "node-1")]);
    assert_eq!(admin.get("/admin/v1/tenants/t1/users/nobody").body["online"], false);
    let shown = admin.command(1, &["presence", "t1", "bob"]);
    assert!(shown.status.success() && text(&shown).contains("phone   node-1"), "{}", text(&shown));

    // One device, on the other node; the other one stays. 4410 is final: a client that reconnects does not.
    let kicked = admin.post(&format!("{BOB}/kick"), r#"{"device":"desk"}"#).body;
    assert_eq!((&kicked["closed"], &kicked["complete"]), (&json!(1), &json!(true)));
    assert_eq!(kicked["nodes"], json!([{ "node": "node-1", "closed": 0 }, { "node": "node-2", "closed": 1 }]));
    assert_eq!(desk.closed().await, 4410);
    wait("only the phone is there", || admin.get(BOB).body["connections"] == 1).await;
    phone.still_connected();

    // All of them, by the command, asked of the other node.
    let output = admin.command(1, &["kick", "t1", "bob"]);
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), "1 connections closed\n"));
    assert_eq!(phone.closed().await, 4410);
    wait("bob is gone", || admin.get(BOB).body["online"] == false).await;
    assert_eq!(admin.post(&format!("{BOB}/kick"), "").body["closed"], 0, "again, it does no harm");
    assert_eq!(desk.closes(), [4410], "it did not come back");
    carol.still_connected();

    // A node that does not answer is told, and so is that the work is not complete.
    let bob = User::at(&admin.cluster.nodes[1], "bob").await;
    admin.cluster.nodes[1].freeze();
    let kicked = admin.post(&format!("{BOB}/kick"), "").body;
    assert_eq!((&kicked["closed"], &kicked["complete"]), (&json!(0), &json!(false)), "{kicked}");
    assert!(kicked["nodes"][1]["error"].is_string(), "{kicked}");
    let output = admin.command(0, &["kick", "t1", "bob"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    admin.cluster.nodes[1].thaw();
    pause(1).await;
    admin.cluster.complete().await;
    admin.command(1, &["kick", "t1", "bob"]);
    assert_eq!(bob.closed().await, 4410);
    let log = admin.cluster.nodes[0].process().log();
    let audited = |line: &&str| line.contains("admin_action") && line.contains("\"kick\"") && line.contains("bob");
    assert!(log.lines().filter(audited).count() >= 4, "every change stands in the log");
    assert!(!log.contains(super::api::TOKEN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_without_redis_says_that_it_is_not_complete() {
    if redis_is_missing("presence_without_redis_says_that_it_is_not_complete") {
        return;
    }
    let admin = Administered::start(1, |_| {}).await;
    let bob = User::at(&admin.cluster.nodes[0], "bob").await;
    admin.cluster.redis().signal("STOP");
    let presence = admin.get(BOB).body;
    assert_eq!((&presence["complete"], &presence["online"]), (&json!(false), &json!(true)), "{presence}");
    assert_eq!(presence["devices"][0]["device"], "d1");
    admin.cluster.redis().signal("CONT");
    wait("Redis is asked again", || admin.get(BOB).body["complete"] == true).await;
    bob.still_connected();
}
