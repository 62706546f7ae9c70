//! Users on different nodes of a healthy cluster.

use mics_client::MicsClientOptions;

use super::processes::{Cluster, port, wait};
use super::redis_support::redis_is_missing;
use super::users::{User, in_order, options};

/// Both ways, in order, without loss, over the nodes' link and not over the buffer.
async fn talk_both_ways(cluster: &Cluster) {
    let (alice, bob) = (User::at(&cluster.nodes[0], "alice").await, User::at(&cluster.nodes[1], "bob").await);
    let ids: Vec<String> = (0..200).map(|n| format!("m-{n}")).collect();
    let (to_bob, to_alice) = (
        async {
            for id in &ids {
                alice.tell("bob", id).await;
            }
        },
        async {
            for id in &ids {
                bob.tell("alice", id).await;
            }
        },
    );
    tokio::join!(to_bob, to_alice);
    for user in [&alice, &bob] {
        user.got(&ids).await;
        assert_eq!(user.seen(), ids);
        user.still_connected();
    }
    let kept: f64 = cluster.nodes.iter().map(|node| node.metric("mics_offline_buffered_total", &[])).sum();
    assert_eq!(kept, 0.0, "nobody was offline");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_on_different_nodes_talk_over_the_public_port() {
    if redis_is_missing("users_on_different_nodes_talk_over_the_public_port") {
        return;
    }
    talk_both_ways(&Cluster::start(2).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_on_different_nodes_talk_over_a_port_of_its_own_with_a_token() {
    if redis_is_missing("users_on_different_nodes_talk_over_a_port_of_its_own_with_a_token") {
        return;
    }
    let cluster = Cluster::with(2, |plan| {
        let grpc = port();
        plan.set("GRPC_PORT", grpc);
        plan.set("PUBLIC_ENDPOINT", format!("http://127.0.0.1:{grpc}"));
        plan.set("CLUSTER_GRPC_TOKEN", "the word");
    })
    .await;
    talk_both_ways(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_what_fits_a_frame_goes_from_node_to_node() {
    if redis_is_missing("without_a_limit_what_fits_a_frame_goes_from_node_to_node") {
        return;
    }
    let cluster = Cluster::with(2, |plan| plan.set("MAX_MESSAGE_BYTES", 0)).await;
    let large = || MicsClientOptions { max_frame_bytes: 64 << 20, ..options(false) };
    let alice = User::try_at(cluster.nodes[0].port, "alice", "d1", large()).await.expect("let in");
    let bob = User::try_at(cluster.nodes[1].port, "bob", "d1", large()).await.expect("let in");
    alice.client.send_single_chat("bob", vec![7; 20 << 20], Some("large".into())).await.expect("an outcome");
    // Perhaps by way of the buffer: on a busy machine so much may take longer than a forward.
    bob.got(&["large".into()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_wrong_token_is_refused_and_its_messages_are_kept() {
    if redis_is_missing("a_node_with_a_wrong_token_is_refused_and_its_messages_are_kept") {
        return;
    }
    let mut cluster = Cluster::with(2, |plan| plan.set("CLUSTER_GRPC_TOKEN", format!("word {}", plan.number))).await;
    let alice = User::at(&cluster.nodes[0], "alice").await;
    let bob = User::at(&cluster.nodes[1], "bob").await;
    let ids: Vec<String> = (0..20).map(|n| format!("m-{n}")).collect();
    for id in &ids {
        alice.tell("bob", id).await;
    }
    let refused = cluster.nodes[0].metric("mics_grpc_forward_failed_total", &[]);
    eprintln!("forwards refused: {refused}");
    assert!(refused >= 1.0, "the refusal can be seen in the metrics");
    let kept = |cluster: &Cluster| cluster.nodes[0].metric("mics_offline_buffer_messages", &[]);
    wait("every message is in the buffer", || kept(&cluster) == ids.len() as f64).await;
    assert!(cluster.nodes[1].process().log().contains("grpc_unauthorized"), "the one who refuses says so");
    assert_eq!(bob.seen(), Vec::<String>::new());
    // Where they were kept they can be fetched.
    bob.client.disconnect().await;
    let bob = User::at(&cluster.nodes[0], "bob").await;
    bob.got(&ids).await;
    assert!(in_order(&bob.seen()));
    wait("the buffer is empty", || kept(&cluster) == 0.0).await;
}
