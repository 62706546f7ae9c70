//! The Redis directory against real servers, which the tests start for themselves on free ports of the loopback.
//! Needs `redis-server` on the path; says so and passes without it.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use deadpool_redis::redis;
use mics::redis::{RedisConfig, RedisDirectory};
use mics_actors::contract::directory as contract;
use mics_domain::ports::{ConnectionLimits, Directory, Registered};
use tokio::time::{Instant, sleep, timeout};

static SERVERS: AtomicU32 = AtomicU32::new(0);

/// One server with a directory of its own; gone when dropped.
struct Server {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

fn redis_is_missing(test: &str) -> bool {
    let missing = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err();
    if missing {
        eprintln!("SKIPPED {test}: redis-server is not installed");
    }
    missing
}

impl Server {
    async fn start(port: u16, config: &str) -> Self {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("mics-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("redis.conf");
        let sentinel = config.contains("sentinel monitor");
        let storage = if sentinel { "" } else { "save \"\"\nappendonly no\n" };
        let text = format!("port {port}\nbind 127.0.0.1\ndir {}\n{storage}{config}\n", folder.display());
        std::fs::write(&file, text).expect("a configuration");
        let mut command = Command::new("redis-server");
        command.arg(&file);
        if sentinel {
            command.arg("--sentinel");
        }
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server starts");
        let server = Server { process, folder, port };
        let up = || async { TcpStream::connect(("127.0.0.1", port)).is_ok() };
        until("the server listens", up).await;
        server
    }

    async fn command(&self, parts: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(parts[0]);
        command.arg(&parts[1..]);
        command.query_async(&mut connection).await
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut ready: impl FnMut() -> F) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !ready().await {
        assert!(Instant::now() < give_up, "gave up waiting: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn directory(connection: &str) -> RedisDirectory {
    RedisDirectory::new(&RedisConfig::parse(connection).expect("a valid connection string")).expect("a pool")
}

/// With a deadline that a busy machine keeps as well.
async fn patient(connection: &str) -> Arc<RedisDirectory> {
    Arc::new(directory(connection).with_deadline(Duration::from_secs(20)))
}

fn limits(tenant: u32) -> ConnectionLimits {
    ConnectionLimits { tenant, user: 0, lease_ms: 60_000 }
}

#[tokio::test]
async fn standalone_keeps_the_contract_of_the_port() {
    if redis_is_missing("standalone_keeps_the_contract_of_the_port") {
        return;
    }
    let server = Server::start(free_port(), "requirepass s3cret").await;
    let connection = format!("127.0.0.1:{},password=s3cret,abortConnect=false", server.port);
    contract::run_all(|| patient(&connection)).await;
}

#[tokio::test]
async fn cluster_keeps_the_contract_of_the_port() {
    if redis_is_missing("cluster_keeps_the_contract_of_the_port") {
        return;
    }
    let mut shards = Vec::new();
    for (first, last) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")] {
        let settings = format!("cluster-enabled yes\ncluster-port {}", free_port());
        let shard = Server::start(free_port(), &settings).await;
        shard.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await.expect("slots");
        shards.push((shard, settings));
    }
    let (first, settings) = &shards[0];
    let bus = settings.rsplit(' ').next().expect("the port of the cluster bus");
    for (shard, _) in &shards[1..] {
        let meet = ["CLUSTER", "MEET", "127.0.0.1", &first.port.to_string(), bus];
        shard.command(&meet).await.expect("meeting");
    }
    for (shard, _) in &shards {
        until("the cluster is complete", || async {
            let info = shard.command(&["CLUSTER", "INFO"]).await.expect("cluster info");
            let text: String = redis::from_redis_value(info).expect("text");
            text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:3")
        })
        .await;
    }
    let connection = format!("127.0.0.1:{},127.0.0.1:{}", shards[1].0.port, shards[2].0.port);
    contract::run_all(|| patient(&connection)).await;
    for (shard, _) in &shards {
        let keys = shard.command(&["DBSIZE"]).await.and_then(|v| Ok(redis::from_redis_value::<u64>(v)?));
        assert!(keys.expect("a number") > 0, "every shard carries a part");
    }
}

#[tokio::test]
async fn sentinel_leads_to_the_master() {
    if redis_is_missing("sentinel_leads_to_the_master") {
        return;
    }
    let master = Server::start(free_port(), "").await;
    let watch = format!("sentinel monitor chat 127.0.0.1 {} 1", master.port);
    let sentinel = Server::start(free_port(), &watch).await;
    let directory = patient(&format!("127.0.0.1:{},serviceName=chat", sentinel.port)).await;
    let route = contract::route("phone", "n1", 1);
    assert_eq!(directory.register("t", "alice", &route, limits(0)).await, Ok(Registered::New));
    assert_eq!(directory.routes("t", &["alice".into()]).await, Ok(vec![vec![route]]));
    let stored = master.command(&["HGET", "mics:{t:alice}:online", "phone"]).await.expect("an answer");
    let stored: String = redis::from_redis_value(stored).expect("a route an operator can read");
    assert_eq!(stored, format!("n1|http://n1:8080|{:032x}|1700000000000", 1));
}

#[tokio::test]
async fn memory_comes_back() {
    if redis_is_missing("memory_comes_back") {
        return;
    }
    let server = Server::start(free_port(), "").await;
    let directory = patient(&format!("127.0.0.1:{}", server.port)).await;
    for n in 0..20_u128 {
        let route = contract::route("d", "n1", n);
        let short = ConnectionLimits { tenant: 100, user: 10, lease_ms: 200 };
        directory.register("left", &format!("u{n}"), &route, short).await.expect("register");
        directory.register("stays-away", &format!("u{n}"), &route, short).await.expect("register");
        directory.unregister("left", &format!("u{n}"), "d", n).await.expect("unregister");
    }
    until("all keys are gone", || async {
        let keys = server.command(&["DBSIZE"]).await.expect("a number");
        redis::from_redis_value::<u64>(keys).expect("a number") == 0
    })
    .await;
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_empty() {
    if redis_is_missing("a_server_that_goes_away_and_comes_back_empty") {
        return;
    }
    let port = free_port();
    let server = Server::start(port, "").await;
    let directory = patient(&format!("127.0.0.1:{port}")).await;
    let route = contract::route("phone", "n1", 1);
    assert_eq!(directory.register("t", "alice", &route, limits(5)).await, Ok(Registered::New));
    drop(server);
    assert!(directory.routes("t", &["alice".into()]).await.is_err());
    assert!(directory.register("t", "bob", &route, limits(5)).await.is_err());
    assert!(directory.renew("t", "alice", "phone", 1, 60_000).await.is_err());
    assert!(directory.unregister("t", "alice", "phone", 1).await.is_err());
    let _server = Server::start(port, "").await;
    until("the directory recovers", || async { directory.routes("t", &["alice".into()]).await.is_ok() }).await;
    assert_eq!(directory.renew("t", "alice", "phone", 1, 60_000).await, Ok(false), "callers learn to register anew");
    assert_eq!(directory.register("t", "alice", &route, limits(5)).await, Ok(Registered::New));
}

#[tokio::test]
async fn a_server_that_never_answers_costs_a_deadline_not_a_hang() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a socket that nobody serves");
    let port = silent.local_addr().expect("an address").port();
    let directory = directory(&format!("127.0.0.1:{port}"));
    let route = contract::route("phone", "n1", 1);
    let answer = timeout(Duration::from_secs(10), directory.register("t", "alice", &route, limits(0))).await;
    assert!(answer.expect("ends by itself").is_err());
    let answer = timeout(Duration::from_secs(10), directory.routes("t", &["alice".into()])).await;
    assert!(answer.expect("ends by itself").is_err());
}
