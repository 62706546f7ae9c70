//! The Redis directory while its servers fail: frozen, killed, failed over, behind TLS. All processes are the test's own.
//! Needs `redis-server` on the path; says so and passes without it.

mod redis_support;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use mics::redis::RedisDirectory;
use mics_actors::contract::directory as contract;
use mics_domain::ports::{Directory, Registered, Renewed, RouteWatcher};
use redis_support::{
    Sentinels, Server, cluster, connection_of, directory, free_port, is_missing, limits, patient, redis_is_missing,
    until, within,
};
use tokio::time::Instant;

/// What a failover may take, once the servers agreed on it or not.
const FAILOVER: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Ear {
    users: Mutex<Vec<String>>,
    live: AtomicBool,
    lost: AtomicU32,
}

impl RouteWatcher for Ear {
    fn changed(&self, _tenant: &str, user: &str) {
        self.users.lock().expect("no panic").push(user.to_owned());
    }

    fn nodes_changed(&self) {}

    fn watching(&self, live: bool) {
        self.live.store(live, Ordering::SeqCst);
        self.lost.fetch_add(u32::from(!live), Ordering::SeqCst);
    }
}

impl Ear {
    async fn at(directory: &RedisDirectory) -> Arc<Self> {
        let ear = Arc::new(Ear::default());
        let watcher: Weak<dyn RouteWatcher> = Arc::<Ear>::downgrade(&ear);
        directory.watch(watcher);
        until("watching", || async { ear.is_live() }).await;
        ear
    }

    fn is_live(&self) -> bool {
        self.live.load(Ordering::SeqCst)
    }

    fn lost(&self) -> u32 {
        self.lost.load(Ordering::SeqCst)
    }

    fn heard(&self, user: &str) -> bool {
        self.users.lock().expect("no panic").iter().any(|heard| heard == user)
    }
}

/// Registering works, looking up works, and the news of it arrives.
async fn works(directory: &RedisDirectory, ear: &Ear, user: &str) {
    let route = contract::route("d", "n1", rand::random());
    within(FAILOVER, "registering works again", || async {
        directory.register("t", user, &route, limits(0)).await.is_ok()
    })
    .await;
    let found = Ok(vec![vec![route]]);
    within(FAILOVER, "the route is found", || async { directory.routes("t", &[user.into()]).await == found }).await;
    // A change told while the subscription was being renewed may be missed, a later one not.
    within(FAILOVER, "the news arrives", || async {
        let route = contract::route("d", "n1", rand::random());
        let _ = directory.register("t", user, &route, limits(0)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        ear.is_live() && ear.heard(user)
    })
    .await;
}

async fn frozen_then_thawed(server: &Server, connection: &str) {
    let directory = directory(connection);
    let ear = Ear::at(&directory).await;
    works(&directory, &ear, "before").await;
    server.signal("STOP");
    until("the loss is told", || async { !ear.is_live() && directory.routes("t", &["u".into()]).await.is_err() }).await;
    server.signal("CONT");
    works(&directory, &ear, "after").await;
}

#[tokio::test]
async fn a_watcher_hears_of_a_frozen_server_and_of_its_return() {
    if redis_is_missing("a_watcher_hears_of_a_frozen_server_and_of_its_return") {
        return;
    }
    let server = Server::start(free_port(), "").await;
    frozen_then_thawed(&server, &format!("127.0.0.1:{}", server.port)).await;
}

/// Entries may be lost in a failover; nodes then write them again.
async fn registers_again(directory: &RedisDirectory, user: &str, connection: u128) {
    let route = contract::route("d", "n1", connection);
    let lease = contract::lease("t", user, "d", connection);
    let lease = [lease];
    within(FAILOVER, "renewing works again", || async { directory.renew(&lease).await.is_ok() }).await;
    match directory.renew(&lease).await.expect("renew")[..] {
        [Renewed::Ours] => {}
        [Renewed::Absent] => assert_eq!(directory.register("t", user, &route, limits(0)).await, Ok(Registered::New)),
        ref other => panic!("nobody else registered this device: {other:?}"),
    }
}

#[tokio::test]
async fn sentinel_failover_after_a_crash() {
    if redis_is_missing("sentinel_failover_after_a_crash") {
        return;
    }
    let mut servers = Sentinels::start().await;
    let directory = directory(&servers.connection());
    let ear = Ear::at(&directory).await;
    works(&directory, &ear, "before").await;
    let route = contract::route("d", "n1", 5);
    directory.register("t", "kept", &route, limits(0)).await.expect("register");
    drop(servers.servers.remove(0));
    let crashed = Instant::now();
    until("the loss is told", || async { ear.lost() > 0 }).await;
    works(&directory, &ear, "after").await;
    eprintln!("the new master is used after {} ms", crashed.elapsed().as_millis());
    registers_again(&directory, "kept", 5).await;
}

#[tokio::test]
async fn sentinel_failover_from_a_frozen_master() {
    if redis_is_missing("sentinel_failover_from_a_frozen_master") {
        return;
    }
    let servers = Sentinels::start().await;
    let directory = directory(&servers.connection());
    let ear = Ear::at(&directory).await;
    works(&directory, &ear, "before").await;
    servers.servers[0].signal("STOP");
    let frozen = Instant::now();
    works(&directory, &ear, "meanwhile").await;
    eprintln!("the new master is used after {} ms", frozen.elapsed().as_millis());
    // The old master comes back as a replica; nobody must go on writing to it.
    servers.servers[0].signal("CONT");
    let demoted = || async { servers.servers[0].ask::<String>(&["INFO", "replication"]).await.contains("role:slave") };
    until("the old master is a replica", demoted).await;
    works(&directory, &ear, "after").await;
}

/// Users whose keys lie on every shard.
async fn all_shards_work(directory: &RedisDirectory, round: &str) -> bool {
    for n in 0..40 {
        let route = contract::route("d", "n1", rand::random());
        if directory.register("t", &format!("{round}{n}"), &route, limits(0)).await.is_err() {
            return false;
        }
    }
    true
}

/// `break_it` gets the nodes and a master that carries the tenant's places.
async fn cluster_failover(break_it: impl FnOnce(&mut Vec<Server>) -> Option<Server>) {
    let mut servers = cluster(3, 3).await;
    let directory = directory(&connection_of(&servers));
    let ear = Ear::at(&directory).await;
    until("all shards work", || all_shards_work(&directory, "before")).await;
    let frozen = break_it(&mut servers);
    let broken = Instant::now();
    within(FAILOVER, "all shards work again", || all_shards_work(&directory, "after")).await;
    eprintln!("all shards work again after {} ms", broken.elapsed().as_millis());
    works(&directory, &ear, "news").await;
    drop(frozen);
}

#[tokio::test]
async fn cluster_failover_after_a_crash() {
    if redis_is_missing("cluster_failover_after_a_crash") {
        return;
    }
    cluster_failover(|servers| {
        drop(servers.remove(1));
        None
    })
    .await;
}

#[tokio::test]
async fn cluster_failover_from_a_frozen_master() {
    if redis_is_missing("cluster_failover_from_a_frozen_master") {
        return;
    }
    cluster_failover(|servers| {
        let frozen = servers.remove(1);
        frozen.signal("STOP");
        Some(frozen)
    })
    .await;
}

#[tokio::test]
async fn a_silent_shard_does_not_stop_the_others() {
    if redis_is_missing("a_silent_shard_does_not_stop_the_others") {
        return;
    }
    let servers = cluster(3, 0).await;
    for server in &servers {
        server.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await.expect("set");
    }
    let directory = directory(&connection_of(&servers));
    let users: Vec<Arc<str>> = (0..60).map(|n| format!("u{n}").into()).collect();
    let reachable = async || {
        let mut reachable = 0;
        for user in &users {
            reachable += u32::from(directory.routes("t", std::slice::from_ref(user)).await.is_ok());
        }
        reachable
    };
    until("all shards answer", || async { reachable().await == 60 }).await;
    servers[2].signal("STOP");
    // A third of the users can't be looked up; most others can, while the first are tried again and again.
    for _ in 0..5 {
        until("the others answer", || async { (30..60).contains(&reachable().await) }).await;
    }
    servers[2].signal("CONT");
    until("all shards answer again", || async { reachable().await == 60 }).await;
}

/// A certificate for 127.0.0.1 that is its own authority.
fn certificate(folder: &std::path::Path) -> bool {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    made.is_ok_and(|status| status.success())
}

/// Which authorities are trusted is the process's affair, so the test runs itself again with another list.
#[tokio::test]
async fn tls_is_spoken_and_the_certificate_checked() {
    let test = "tls_is_spoken_and_the_certificate_checked";
    if redis_is_missing(test) || is_missing("openssl", test) {
        return;
    }
    let folder = std::env::temp_dir().join(format!("mics-redis-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    assert!(certificate(&folder), "openssl makes a certificate");
    let port = free_port();
    let path = folder.display();
    let tls = |port: u16| {
        format!(
            "port 0\ntls-port {port}\ntls-cert-file {path}/cert.pem\ntls-key-file {path}/key.pem\n\
             tls-ca-cert-file {path}/cert.pem\ntls-auth-clients no\ntls-replication yes"
        )
    };
    let server = Server::start(port, &tls(port)).await;
    let watching = free_port();
    let watch = format!("sentinel monitor chat 127.0.0.1 {port} 1\n{}", tls(watching));
    let sentinel = Server::start(watching, &watch).await;
    let run = |trusted: &str, connection: &str, expected: &str| {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "tls_child", "--ignored", "--nocapture"]);
        command.env("SSL_CERT_FILE", format!("{path}/{trusted}")).env_remove("SSL_CERT_DIR");
        command.env("MICS_TEST_REDIS", connection).env("MICS_TEST_EXPECT", expected);
        let output = command.output().expect("it runs");
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{}", said.concat());
    };
    let one = format!("127.0.0.1:{port},ssl=true");
    let watched = format!("127.0.0.1:{watching},ssl=true,serviceName=chat");
    run("cert.pem", &one, "works");
    run("cert.pem", &watched, "works");
    std::fs::create_dir_all(folder.join("other")).expect("a folder");
    assert!(certificate(&folder.join("other")));
    run("other/cert.pem", &one, "refused");
    drop((server, sentinel));
    let _ = std::fs::remove_dir_all(&folder);
}

#[tokio::test]
#[ignore = "run by tls_is_spoken_and_the_certificate_checked"]
async fn tls_child() {
    let variable =
        |name: &str| std::env::var_os(name).and_then(|value| value.into_string().ok()).expect("set by the test");
    let (connection, expected) = (variable("MICS_TEST_REDIS"), variable("MICS_TEST_EXPECT"));
    if expected == "works" {
        let patient = patient(&connection).await;
        let ear = Ear::at(&patient).await;
        works(&patient, &ear, "alice").await;
    } else {
        let directory = directory(&connection);
        for _ in 0..10 {
            assert!(directory.routes("t", &["alice".into()]).await.is_err(), "the certificate is somebody else's");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
