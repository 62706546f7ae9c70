//! Nodes whose clocks differ. Needs `faketime` on the path; says so and passes without it.

use std::process::Command;

use super::processes::{Cluster, pause};
use super::redis_support::{is_missing, redis_is_missing};
use super::users::{User, options};

/// `node-2` is 20 s ahead, `node-3` 20 s behind; timers run as they should.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_clocks_are_apart() {
    let test = "nodes_whose_clocks_are_apart";
    if redis_is_missing(test) || is_missing("faketime", test) {
        return;
    }
    let library = library();
    let mut cluster = Cluster::with(3, |plan| {
        let shift = ["", "+20s", "-20s"][plan.number - 1];
        if !shift.is_empty() {
            // Without the program itself, which would stand between the test and the node.
            plan.set("LD_PRELOAD", &library);
            plan.set("FAKETIME", shift);
            plan.set("FAKETIME_DONT_FAKE_MONOTONIC", 1);
            plan.set("DONT_FAKE_MONOTONIC", 1);
        }
    })
    .await;
    let users = ["u0", "u1", "u2"];
    let mut online = Vec::new();
    for (node, user) in cluster.nodes.iter().zip(users) {
        online.push(User::at(node, user).await);
    }
    let all: Vec<String> = (0..3).flat_map(|from| (0..10).map(move |n| format!("{from}-{n}"))).collect();
    for round in 0..2 {
        for (from, sender) in online.iter().enumerate() {
            for n in 0..10 {
                for to in users {
                    sender.tell(to, &format!("{from}-{n}-to-{to}-{round}")).await;
                }
                sender.tell("away", &format!("{from}-{n}-{round}")).await;
            }
        }
        for (user, name) in online.iter().zip(users) {
            user.got(&all.iter().map(|id| format!("{id}-to-{name}-{round}")).collect::<Vec<_>>()).await;
        }
        // Longer than a lease: nobody is taken for dead, no place is lost.
        pause(8).await;
        for node in &cluster.nodes {
            assert_eq!(node.sees(), 3, "{} sees all", node.id);
            assert_eq!(node.metric("mics_dead_node_cleanups_total", &[]), 0.0, "nobody was buried");
        }
        online.iter().for_each(User::still_connected);
    }
    let away = User::try_at(cluster.nodes[2].port, "away", "d1", options(false)).await.expect("let in");
    away.got(&(0..2).flat_map(|round| all.iter().map(move |id| format!("{id}-{round}"))).collect::<Vec<_>>()).await;
    // A device moves from the node ahead to the one behind, and back.
    for node in [2, 1] {
        let moved = User::at(&cluster.nodes[node], "u1").await;
        assert_eq!(online[1].closed().await, 4409);
        online[1] = moved;
        let id = format!("moved-to-{node}");
        online[0].tell("u1", &id).await;
        online[1].got(&[id]).await;
    }
    // The clocks were really apart.
    let dates: Vec<i64> = cluster.nodes.iter_mut().map(|node| seconds(&node.process().log())).collect();
    let apart = [(dates[1] - dates[0]).rem_euclid(DAY), (dates[0] - dates[2]).rem_euclid(DAY)];
    assert!(apart.iter().all(|apart| (15..25).contains(apart)), "the logs are dated {apart:?} s apart");
}

/// What `faketime` has programs load.
fn library() -> String {
    let output = Command::new("faketime").args(["-f", "+0s", "env"]).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().find_map(|line| line.strip_prefix("LD_PRELOAD=")).expect("a library").to_owned()
}

const DAY: i64 = 24 * 60 * 60;

/// Second of the day in the first line of a log.
fn seconds(log: &str) -> i64 {
    let (_, time) = log.split_once('T').and_then(|(_, rest)| rest.split_once('T')).expect("a date");
    let parts: Vec<i64> = time[..8].split(':').map(|part| part.parse().expect("a time")).collect();
    parts[0] * 3600 + parts[1] * 60 + parts[2]
}
