//! Redis fails in every way it can: users of one node talk on, nobody is disconnected, and it heals by itself.

use std::time::Duration;

use tokio::time::Instant;

use super::processes::{Cluster, pause, wait};
use super::redis_support::{Sentinels, Server, cluster, connection_of, redis_is_missing};
use super::users::{Talk, User, failures, repetitions, sent, times};

/// Other nodes are reached again within 10 s; twice that on a busy machine.
const HEALED: Duration = Duration::from_secs(20);

/// Two nodes with a pair of users on the first one and a pair across.
struct Scene {
    nodes: Cluster,
    near: (Talk, User),
    far: (Talk, User),
}

impl Scene {
    async fn on(nodes: Cluster) -> Scene {
        let step = Duration::from_millis(10);
        let (a, b) = (&nodes.nodes[0], &nodes.nodes[1]);
        let (bob, carol) = (User::at(a, "bob").await, User::at(b, "carol").await);
        let near = (Talk::start(User::at(a, "alice").await, "bob", "near", step), bob);
        let far = (Talk::start(User::at(a, "anna").await, "carol", "far", step), carol);
        tokio::join!(near.0.goes_on(50), far.0.goes_on(50));
        Scene { nodes, near, far }
    }

    async fn start() -> Scene {
        Scene::on(Cluster::start(2).await).await
    }

    /// Both talks go on, whatever Redis does.
    async fn goes_on(&self) {
        tokio::join!(self.near.0.goes_on(100), self.far.0.goes_on(20));
    }

    /// Users who come now are found from the other node; then everything acked has arrived.
    async fn healed(self, since: Instant) {
        let (a, b) = (&self.nodes.nodes[0], &self.nodes.nodes[1]);
        let (dave, erin) = (User::at(a, "dave").await, User::at(b, "erin").await);
        for n in 0.. {
            let forwarded = b.metric("mics_deliveries_total", &["grpc"]);
            dave.tell("erin", &format!("new-{n}")).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            let live = erin.seen().contains(&format!("new-{n}"));
            if live {
                eprintln!("a newcomer is reached across nodes after {:?} ({forwarded} forwarded)", since.elapsed());
                break;
            }
            assert!(since.elapsed() < HEALED, "a newcomer can't be reached across nodes");
        }
        let carol_has = self.far.1.seen().len();
        wait("messages across nodes arrive", || self.far.1.seen().len() >= carol_has + 20).await;
        assert!(since.elapsed() < HEALED * 2, "messages across nodes arrive late");
        for (name, (talk, listener)) in [("near", self.near), ("far", self.far)] {
            let (talker, outcomes) = talk.end().await;
            talker.still_connected();
            let ids = sent(&outcomes);
            listener.got(&ids).await;
            listener.still_connected();
            let (longest, middle) = times(&outcomes);
            let (again, failed) = (repetitions(&listener.seen()), failures(&outcomes));
            eprintln!(
                "{name}: {} acked, {again} repeated, in order: {}, longest wait {longest:?}, middle {middle:?}, failed {failed:.5?}",
                ids.len(),
                super::users::in_order(&listener.seen()),
            );
            assert!(failed.is_empty(), "{name}: {failed:?}");
            if name == "near" {
                assert_eq!(listener.seen(), ids, "on one node nothing changes");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_frozen() {
    if redis_is_missing("redis_is_frozen") {
        return;
    }
    let scene = Scene::start().await;
    scene.nodes.redis().signal("STOP");
    scene.goes_on().await;
    pause(5).await;
    scene.goes_on().await;
    scene.nodes.redis().signal("CONT");
    scene.healed(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_forgets_everything() {
    if redis_is_missing("redis_forgets_everything") {
        return;
    }
    let scene = Scene::start().await;
    scene.nodes.redis().command(&["FLUSHALL"]).await.expect("flushed");
    let forgotten = Instant::now();
    scene.goes_on().await;
    scene.healed(forgotten).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_comes_back_empty() {
    if redis_is_missing("redis_is_killed_and_comes_back_empty") {
        return;
    }
    let mut scene = Scene::start().await;
    let port = scene.nodes.redis().port;
    drop(scene.nodes.redis.take());
    scene.goes_on().await;
    pause(5).await;
    scene.nodes.redis = Some(Server::start(port, "").await);
    scene.healed(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_choose_another_master() {
    if redis_is_missing("sentinels_choose_another_master") {
        return;
    }
    let mut watched = Sentinels::start().await;
    let scene = Scene::on(Cluster::on(&watched.connection(), 2, |_| {}).await).await;
    drop(watched.servers.remove(0));
    let killed = Instant::now();
    scene.goes_on().await;
    scene.healed(killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_of_a_redis_cluster_fails_over() {
    if redis_is_missing("a_shard_of_a_redis_cluster_fails_over") {
        return;
    }
    let mut servers = cluster(3, 3).await;
    let scene = Scene::on(Cluster::on(&connection_of(&servers), 2, |_| {}).await).await;
    drop(servers.remove(1));
    let killed = Instant::now();
    scene.goes_on().await;
    scene.healed(killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_answers_is_timed_and_what_it_finds_is_counted() {
    if redis_is_missing("what_redis_answers_is_timed_and_what_it_finds_is_counted") {
        return;
    }
    let cluster = Cluster::start(2).await;
    let (alice, bob) = (User::at(&cluster.nodes[0], "alice").await, User::at(&cluster.nodes[1], "bob").await);
    for n in 0..20 {
        alice.tell("bob", &format!("m-{n}")).await;
    }
    alice.tell("nobody", "away").await;
    bob.got(&(0..20).map(|n| format!("m-{n}")).collect::<Vec<_>>()).await;
    let figure = |name: &str, labels: &[&str]| cluster.nodes[0].metric(name, labels);
    for op in ["op=\"register\"", "op=\"routes\"", "op=\"announce\""] {
        let (count, sum) = (figure("mics_redis_duration_ms_count", &[op]), figure("mics_redis_duration_ms_sum", &[op]));
        assert!(count >= 1.0 && sum > 0.0, "{op}: {count} in {sum} ms");
    }
    let looked_up = |result: &str| figure("mics_redis_lookups_total", &["op=\"routes\"", result]);
    assert!(looked_up("result=\"hit\"") >= 1.0, "bob");
    assert!(looked_up("result=\"miss\"") >= 1.0, "nobody");
    let remembered = figure("mics_route_cache_total", &["result=\"hit\""]);
    assert!(remembered >= 10.0, "bob was remembered {remembered} times");
    cluster.redis().signal("STOP");
    wait("failures are counted", || figure("mics_redis_failed_total", &["op=\"announce\""]) >= 1.0).await;
    cluster.redis().signal("CONT");
}
