//! Redis gets to know who is where, and nothing of what is said.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use deadpool_redis::redis;

use super::processes::{Cluster, Process};
use super::redis_support::{Server, is_missing, redis_is_missing, until};
use super::users::User;

/// In bodies and ids.
const MARK: &str = "mArKeD7311";

/// Whatever reaches Redis, stored or only passing through: keys, values, channels, messages on them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_said_reaches_redis() {
    let test = "nothing_that_is_said_reaches_redis";
    if redis_is_missing(test) || is_missing("redis-cli", test) {
        return;
    }
    let cluster = Cluster::with(3, |plan| plan.set("DEDUP_MODE", "redis")).await;
    let redis = cluster.redis();
    let mut monitor = Command::new("redis-cli");
    monitor.args(["-p", &redis.port.to_string(), "MONITOR"]);
    let monitor = Process::start("redis-cli", &mut monitor);
    let _ = redis.command(&["PING"]).await;
    until("the monitor hears", || async {
        let _ = redis.command(&["PING"]).await;
        monitor.log().contains("\"PING\"")
    })
    .await;

    let alice = User::at(&cluster.nodes[0], "alice").await;
    let (near, far) = (User::at(&cluster.nodes[0], "u1").await, User::at(&cluster.nodes[1], "u2").await);
    let mut ids = Vec::new();
    for n in 0..20 {
        let id = format!("{MARK}-{n}");
        for (to, of) in [("u1", "near"), ("u2", "far"), ("u3", "away")] {
            let (id, body) = (format!("{id}-{of}"), format!("{MARK} is the body"));
            let ack = alice.client.send_single_chat(to, body, Some(id)).await.expect("an outcome");
            assert_eq!(ack.reason, "");
        }
        let body = format!("{MARK} is the body");
        let ack = alice.client.send_group_chat("group-1", body, Some(format!("{id}-group"))).await.expect("an outcome");
        assert_eq!(ack.reason, "");
        ids.push(format!("{id}-group"));
    }
    near.got(&ids).await;
    far.got(&ids).await;
    clean(&everything(redis).await, &monitor.log());
    let away = User::at(&cluster.nodes[2], "u3").await;
    away.got(&ids).await;
    alice.client.disconnect().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    clean(&everything(redis).await, &monitor.log());
}

/// Every key and value as text.
async fn everything(server: &Server) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for key in server.ask::<Vec<String>>(&["KEYS", "*"]).await {
        let value: redis::Value = match server.ask::<String>(&["TYPE", &key]).await.as_str() {
            "hash" => server.ask(&["HGETALL", &key]).await,
            "zset" => server.ask(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await,
            "set" => server.ask(&["SMEMBERS", &key]).await,
            "string" => server.ask(&["GET", &key]).await,
            // It ended between the two questions.
            "none" => continue,
            other => panic!("{key} is a {other}"),
        };
        all.insert(key, format!("{value:?}"));
    }
    all
}

fn clean(stored: &BTreeMap<String, String>, passed: &str) {
    let known = |text: &str| text.to_lowercase().contains("u1");
    assert!(stored.iter().any(|(key, value)| known(key) || known(value)), "the users' routes are there: {stored:?}");
    assert!(known(passed), "the monitor heard the nodes");
    eprintln!("{} keys, {} commands looked through", stored.len(), passed.lines().count());
    let has = |text: &str| text.contains(MARK);
    let found: Vec<_> = stored.iter().filter(|(key, value)| has(key) || has(value)).collect();
    assert!(found.is_empty(), "stored: {found:?}");
    let found: Vec<_> = passed.lines().filter(|line| has(line)).collect();
    assert!(found.is_empty(), "passed through: {found:.3?}");
}
