//! The Redis directory against real servers, which the tests start for themselves on free ports of the loopback.
//! Needs `redis-server` on the path; says so and passes without it.

mod redis_support;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use mics_actors::contract::directory as contract;
use mics_domain::ports::{ConnectionLimits, Directory, Lease, Registered, Renewed, Route};
use redis_support::{
    Server, cluster, connection_of, directory, everything, free_port, limits, patient, redis_is_missing, until,
};
use tokio::time::{Instant, timeout};

#[tokio::test]
async fn standalone_keeps_the_contract_of_the_port() {
    if redis_is_missing("standalone_keeps_the_contract_of_the_port") {
        return;
    }
    let server = Server::start(free_port(), "requirepass s3cret").await;
    let connection = format!("127.0.0.1:{},password=s3cret,abortConnect=false,defaultDatabase=3", server.port);
    contract::run_all(|| patient(&connection)).await;
}

#[tokio::test]
async fn cluster_keeps_the_contract_of_the_port() {
    if redis_is_missing("cluster_keeps_the_contract_of_the_port") {
        return;
    }
    let shards = cluster(3, 0).await;
    let connection = connection_of(&shards[1..]);
    contract::run_all(|| patient(&connection)).await;
    for shard in &shards {
        assert!(shard.ask::<u64>(&["DBSIZE"]).await > 0, "every shard carries a part");
    }
}

#[tokio::test]
async fn sentinel_keeps_the_contract_of_the_port() {
    if redis_is_missing("sentinel_keeps_the_contract_of_the_port") {
        return;
    }
    let master = Server::start(free_port(), "").await;
    let watch = format!("sentinel monitor chat 127.0.0.1 {} 1", master.port);
    let sentinel = Server::start(free_port(), &watch).await;
    let connection = format!("127.0.0.1:{},serviceName=chat", sentinel.port);
    contract::run_all(|| patient(&connection)).await;
    let route = contract::route("phone", "n1", 1);
    let directory = patient(&connection).await;
    assert_eq!(directory.register("t", "alice", &route, limits(0)).await, Ok(Registered::New));
    let stored: String = master.ask(&["HGET", "mics:{t:alice}:online", "phone"]).await;
    assert_eq!(stored, format!("n1|http://n1:8080|{:032x}|1700000000000|1", 1), "an operator can read it");
}

#[tokio::test]
async fn memory_comes_back() {
    if redis_is_missing("memory_comes_back") {
        return;
    }
    let server = Server::start(free_port(), "").await;
    let directory = patient(&format!("127.0.0.1:{}", server.port)).await;
    let me = contract::peer("n1", 1);
    directory.announce(&me, 60_000).await.expect("announce");
    for n in 0..20_u128 {
        let route = contract::route("d", "n1", n);
        let short = ConnectionLimits { tenant: 100, user: 10, lease_ms: 200, again: false };
        directory.register("left", &format!("u{n}"), &route, short).await.expect("register");
        directory.register("stays-away", &format!("u{n}"), &route, short).await.expect("register");
        directory.unregister(&[contract::lease("left", &format!("u{n}"), "d", n)]).await.expect("unregister");
    }
    directory.take_budget("left", 1, 5).await.expect("budget");
    assert_eq!(server.ask::<u64>(&["SCARD", "mics:{node:n1|1}:routes"]).await, 20, "who left is not listed");
    directory.leave(&me).await.expect("leave");
    while directory.bury(&me, 100).await.expect("bury") > 0 {}
    until("all keys are gone", || async { server.ask::<u64>(&["DBSIZE"]).await == 0 }).await;
}

#[tokio::test]
async fn a_node_s_list_holds_its_live_sessions_only() {
    if redis_is_missing("a_node_s_list_holds_its_live_sessions_only") {
        return;
    }
    let server = Server::start(free_port(), "").await;
    let directory = patient(&format!("127.0.0.1:{}", server.port)).await;
    let listed = async |node: &str| -> Vec<String> {
        server.ask(&["SMEMBERS", &format!("mics:{{node:{node}|1}}:routes")]).await
    };
    let register = |device: &'static str, node: &'static str, connection: u128, limits: ConnectionLimits| {
        let directory = directory.clone();
        async move { directory.register("t", "u", &contract::route(device, node, connection), limits).await }
    };
    let one_device = ConnectionLimits { tenant: 0, user: 1, lease_ms: 60_000, again: false };
    register("d", "n1", 1, one_device).await.expect("register");
    assert_eq!(listed("n1").await, [format!("t|u|d|{:032x}", 1)]);
    register("d", "n2", 2, one_device).await.expect("register");
    assert!(listed("n1").await.is_empty(), "replaced by another node's");
    assert_eq!(register("e", "n1", 3, one_device).await, Ok(Registered::UserFull { current: 1 }));
    assert_eq!(register("e", "n1", 3, limits(1)).await, Ok(Registered::TenantFull { current: 1 }));
    assert!(listed("n1").await.is_empty(), "refused");
    directory.unregister(&[contract::lease("t", "u", "d", 2)]).await.expect("unregister");
    assert!(listed("n2").await.is_empty(), "gone");
    assert_eq!(server.ask::<u64>(&["DBSIZE"]).await, 0);
}

#[tokio::test]
async fn a_batch_is_one_round_trip() {
    if redis_is_missing("a_batch_is_one_round_trip") {
        return;
    }
    let server = Server::start(free_port(), "").await;
    let directory = patient(&format!("127.0.0.1:{}", server.port)).await;
    let me = contract::peer("n1", 1);
    directory.announce(&me, 60_000).await.expect("announce");
    let leases: Vec<Lease> = (0..200).map(|n| contract::lease("t", &format!("u{n}"), "d", n)).collect();
    for lease in &leases {
        let route = contract::route("d", "n1", lease.connection);
        directory.register("t", &lease.user, &route, limits(500)).await.expect("register");
    }
    // Calls of a command that scripts ran count as the script's; each EVAL below has many leases.
    let evals = async || -> u64 {
        let stats: String = server.ask(&["INFO", "commandstats"]).await;
        let line = stats.lines().find(|line| line.starts_with("cmdstat_eval:")).expect("scripts ran").to_owned();
        line.split(['=', ',']).nth(1).and_then(|calls| calls.parse().ok()).expect("a number")
    };
    let reads = async || -> u64 {
        let stats: String = server.ask(&["INFO", "stats"]).await;
        let line = stats.lines().find(|line| line.starts_with("total_reads_processed:")).expect("reads").to_owned();
        line.rsplit(':').next().and_then(|reads| reads.parse().ok()).expect("a number")
    };
    let (evals_before, before) = (evals().await, reads().await);
    let empty = reads().await - before;
    let before = reads().await;
    assert_eq!(directory.renew(&leases).await, Ok(vec![Renewed::Ours; 200]));
    let during = reads().await - before - empty;
    // What arrives in one piece is read in at most a few pieces of 16 KiB, not once per lease.
    assert!(during <= 20, "{during} reads for 200 leases");
    let before = reads().await;
    directory.unregister(&leases).await.expect("unregister");
    let during = reads().await - before - empty;
    assert!(during <= 20, "{during} reads for 200 removals");
    assert_eq!(evals().await - evals_before, 8, "64 leases per script");
    assert_eq!(server.ask::<u64>(&["EXISTS", "mics:{node:n1|1}:routes", "mics:{t}:places"]).await, 0);
}

#[tokio::test]
async fn lost_memory_is_noticed_and_written_again() {
    if redis_is_missing("lost_memory_is_noticed_and_written_again") {
        return;
    }
    let server = Server::start(free_port(), "").await;
    let directory = patient(&format!("127.0.0.1:{}", server.port)).await;
    let (me, route) = (contract::peer("n1", 1), contract::route("phone", "n1", 1));
    let lease = [contract::lease("t", "alice", "phone", 1)];
    assert!(!directory.announce(&me, 60_000).await.expect("announce").remembered);
    directory.register("t", "alice", &route, limits(5)).await.expect("register");
    assert!(directory.announce(&me, 60_000).await.expect("announce").remembered);
    assert_eq!(directory.renew(&lease).await, Ok(vec![Renewed::Ours]));
    server.command(&["FLUSHALL"]).await.expect("flushed");
    assert_eq!(directory.renew(&lease).await, Ok(vec![Renewed::Absent]));
    assert!(!directory.announce(&me, 60_000).await.expect("announce").remembered);
    assert_eq!(directory.register("t", "alice", &route, limits(5)).await, Ok(Registered::New));
    assert_eq!(directory.renew(&lease).await, Ok(vec![Renewed::Ours]));
}

#[tokio::test]
async fn nothing_but_the_listed_keys_is_written() {
    if redis_is_missing("nothing_but_the_listed_keys_is_written") {
        return;
    }
    let server = Server::start(free_port(), "").await;
    let directory = patient(&format!("127.0.0.1:{}", server.port)).await;
    let route: Route = contract::route("phone", "n1", 1);
    directory.register("t", "alice", &route, limits(5)).await.expect("register");
    directory.announce(&contract::peer("n1", 1), 60_000).await.expect("announce");
    directory.take_budget("t", 3, 10).await.expect("budget");
    let all = everything(&server).await;
    let mut expected = vec![
        "mics:{t:alice}:online",
        "mics:{t:alice}:leases",
        "mics:{t}:places",
        "mics:{nodes}:live",
        "mics:{nodes}:peers",
        "mics:{node:n1|1}:routes",
    ];
    expected.sort_unstable();
    let lasting: Vec<&str> = all.keys().map(String::as_str).filter(|key| *key != "mics:{t}:budget").collect();
    assert_eq!(lasting, expected);
    for key in all.keys() {
        assert!(server.ask::<i64>(&["PTTL", key]).await > 0, "{key} would stay for ever");
    }
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_empty() {
    if redis_is_missing("a_server_that_goes_away_and_comes_back_empty") {
        return;
    }
    let port = free_port();
    let server = Server::start(port, "").await;
    let directory = patient(&format!("127.0.0.1:{port}")).await;
    let (route, lease) = (contract::route("phone", "n1", 1), [contract::lease("t", "alice", "phone", 1)]);
    assert_eq!(directory.register("t", "alice", &route, limits(5)).await, Ok(Registered::New));
    drop(server);
    assert!(directory.routes("t", &["alice".into()]).await.is_err());
    assert!(directory.register("t", "bob", &route, limits(5)).await.is_err());
    assert!(directory.renew(&lease).await.is_err());
    assert!(directory.unregister(&lease).await.is_err());
    assert!(directory.announce(&route.at, 1_000).await.is_err());
    let _server = Server::start(port, "").await;
    until("the directory recovers", || async { directory.routes("t", &["alice".into()]).await.is_ok() }).await;
    let renewed = directory.renew(&lease).await;
    assert_eq!(renewed, Ok(vec![Renewed::Absent]), "callers learn to register anew");
    assert_eq!(directory.register("t", "alice", &route, limits(5)).await, Ok(Registered::New));
}

#[tokio::test]
async fn a_server_that_never_answers_costs_a_deadline_and_then_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a socket that nobody serves");
    let port = silent.local_addr().expect("an address").port();
    let directory = directory(&format!("127.0.0.1:{port}"));
    let route = contract::route("phone", "n1", 1);
    let ask = || timeout(Duration::from_secs(10), directory.register("t", "alice", &route, limits(0)));
    let mut errors = Vec::new();
    for _ in 0..6 {
        errors.push(ask().await.expect("ends by itself").expect_err("nobody answers").0);
    }
    assert_eq!(errors[..3], ["deadline"; 3]);
    assert!(errors[3..].contains(&"circuit open".to_owned()), "{errors:?}");
    let answer = timeout(Duration::from_secs(10), directory.routes("t", &["alice".into()])).await;
    assert!(answer.expect("ends by itself").is_err());
}

#[tokio::test]
async fn a_frozen_server_costs_little_and_heals_by_itself() {
    if redis_is_missing("a_frozen_server_costs_little_and_heals_by_itself") {
        return;
    }
    let server = Server::start(free_port(), "").await;
    let connection = format!("127.0.0.1:{}", server.port);
    drop(patient(&connection).await);
    let directory = Arc::new(directory(&connection));
    let users = ["alice".into()];
    until("connected", || async { directory.routes("t", &users).await.is_ok() }).await;
    server.signal("STOP");
    let (started, mut refused, mut asked) = (Instant::now(), 0, 0);
    while started.elapsed() < Duration::from_secs(3) {
        let answer = directory.routes("t", &users).await;
        asked += 1;
        match answer.expect_err("it is frozen").0.as_str() {
            "circuit open" => refused += 1,
            "deadline" => {}
            other => panic!("unexpected: {other}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(refused > asked / 2, "only {refused} of {asked} were refused at once");
    server.signal("CONT");
    until("it heals", || async { directory.routes("t", &users).await.is_ok() }).await;
    assert_eq!(directory.renew(&[contract::lease("t", "alice", "d", 1)]).await, Ok(vec![Renewed::Absent]));
}

/// A worker thread of the gateway: its runtime ends with it.
fn on_a_worker<T: Send + 'static>(work: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work())
    });
    thread.join().expect("no panic")
}

#[test]
fn connections_outlive_the_threads_that_ask() {
    if redis_is_missing("connections_outlive_the_threads_that_ask") {
        return;
    }
    let background =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let server = background.block_on(Server::start(free_port(), ""));
    let connection = format!("127.0.0.1:{}", server.port);
    let directory = background.block_on(async { patient(&connection).await });
    for connection in 0..3 {
        let directory = directory.clone();
        let answer = on_a_worker(async move || {
            directory.register("t", "u", &contract::route("d", "n1", connection), limits(0)).await
        });
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert_eq!(background.block_on(server.ask::<u64>(&["DBSIZE"])), 4);
    // Nothing of it lives on the runtime that made it.
    background.shutdown_background();
    let answer = on_a_worker(async move || directory.routes("t", &["u".into()]).await);
    assert_eq!(answer.expect("an answer")[0].len(), 1);
}
