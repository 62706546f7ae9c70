//! What the log says of a peer that does not take what it is given, and how often.

use super::processes::{Cluster, Node, wait};
use super::redis_support::redis_is_missing;
use super::users::User;

/// Lines of an event, as JSON.
fn lines(node: &mut Node, event: &str) -> Vec<serde_json::Value> {
    let log = node.process().log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|line| line["Content"].as_str().is_some_and(|content| content.starts_with(event))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_is_named_in_figures_and_log() {
    if redis_is_missing("a_wrong_token_is_named_in_figures_and_log") {
        return;
    }
    let mut cluster = Cluster::with(2, |plan| plan.set("CLUSTER_GRPC_TOKEN", format!("word {}", plan.number))).await;
    let alice = User::at(&cluster.nodes[0], "alice").await;
    let _bob = User::at(&cluster.nodes[1], "bob").await;
    let _members = (User::at(&cluster.nodes[1], "u1").await, User::at(&cluster.nodes[1], "u2").await);
    for n in 0..50 {
        alice.tell("bob", &format!("m-{n}")).await;
    }
    alice.client.send_group_chat("group-1", "x", Some("g-1".into())).await.expect("an outcome");
    let endpoint = format!("http://127.0.0.1:{}", cluster.nodes[1].port);
    let failed = |name: &str, labels: &[&str]| cluster.nodes[0].metric(name, labels);
    for name in ["mics_grpc_forward_failed_total", "mics_grpc_offline_buffer_failed_total"] {
        let all = failed(name, &[]);
        assert!(all > 0.0 && all == failed(name, &["status=\"Unauthenticated\""]), "{name}: {all}");
    }
    assert_eq!(failed("mics_grpc_circuit_open_total", &[]), 0.0, "a circuit would hide why");
    for (event, field, value) in [
        ("grpc_forward_single_failed", "to", "bob".into()),
        ("grpc_forward_batch_failed", "users", 2.into()),
        ("grpc_offline_buffer_failed", "to", serde_json::Value::from("bob")),
    ] {
        let lines = lines(&mut cluster.nodes[0], event);
        assert!(!lines.is_empty() && lines.len() < 10, "{event}: {} lines", lines.len());
        let line = &lines[0];
        assert_eq!((&line[field], &line["status"]), (&value, &"Unauthenticated".into()), "{line}");
        assert_eq!((&line["endpoint"], &line["TenantId"]), (&endpoint.as_str().into(), &"t1".into()), "{line}");
        assert!(event.starts_with("grpc_offline") || line["MsgId"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
    }
    // Whoever comes is asked for at all homes.
    let _carol = User::at(&cluster.nodes[1], "carol").await;
    wait("the drain failed", || !lines(&mut cluster.nodes[1], "grpc_offline_drain_failed").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_peer_is_told_of_but_not_for_each_message() {
    if redis_is_missing("a_dead_peer_is_told_of_but_not_for_each_message") {
        return;
    }
    let mut cluster = Cluster::with(2, |plan| plan.set("GRPC_BREAKER_FAILURE_THRESHOLD", 100)).await;
    let alice = User::at(&cluster.nodes[0], "alice").await;
    let bob = User::at(&cluster.nodes[1], "bob").await;
    alice.tell("bob", "m-0").await;
    bob.got(&["m-0".into()]).await;
    cluster.nodes[1].kill();
    let (mut n, failures) = (0, || cluster.nodes[0].metric("mics_grpc_forward_failed_total", &[]));
    while failures() < 3.0 && n < 500 {
        n += 1;
        alice.tell("bob", &format!("m-{n}")).await;
    }
    assert!(failures() >= 1.0, "the peer was tried");
    for (event, attempt) in [("grpc_forward_single_retry", 1), ("grpc_forward_single_failed", 2)] {
        let lines = lines(&mut cluster.nodes[0], event);
        assert!(!lines.is_empty() && lines.len() <= 3, "{event}: {lines:?}");
        let line = &lines[0];
        assert_eq!(
            (&line["to"], &line["attempt"], &line["status"]),
            (&"bob".into(), &attempt.into(), &"Unavailable".into())
        );
        assert!(line["MsgId"].as_str().is_some_and(|id| id.starts_with("m-")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_with_one_endpoint_both_say_so() {
    if redis_is_missing("two_nodes_with_one_endpoint_both_say_so") {
        return;
    }
    let endpoint = "http://127.0.0.1:9";
    let mut cluster = Cluster::with(2, |plan| plan.set("PUBLIC_ENDPOINT", endpoint)).await;
    for (number, other) in [(0, "node-2"), (1, "node-1")] {
        let node = &mut cluster.nodes[number];
        wait("the node speaks of the other", || !lines(node, "public_endpoint_shared").is_empty()).await;
        let line = &lines(node, "public_endpoint_shared")[0];
        assert_eq!((&line["Level"], &line["node"]), (&"Error".into(), &node.id.as_str().into()), "{line}");
        assert_eq!((&line["other"], &line["endpoint"]), (&other.into(), &endpoint.into()), "{line}");
    }
}
