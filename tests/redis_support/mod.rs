//! Redis servers that a test starts for itself on free ports of the loopback, and directories that talk to them.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use deadpool_redis::redis;
use mics::redis::{RedisConfig, RedisDirectory};
use mics_actors::metrics::Metrics;
use mics_domain::ports::{ConnectionLimits, Directory};
use tokio::time::{Instant, sleep};

static SERVERS: AtomicU32 = AtomicU32::new(0);

/// One server with a folder of its own; gone when dropped.
pub struct Server {
    process: Child,
    pub folder: PathBuf,
    pub port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal("CONT");
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

pub fn is_missing(program: &str, test: &str) -> bool {
    let missing = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err();
    if missing {
        eprintln!("SKIPPED {test}: {program} is not installed");
    }
    missing
}

pub fn redis_is_missing(test: &str) -> bool {
    is_missing("redis-server", test)
}

impl Server {
    pub async fn start(port: u16, config: &str) -> Self {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("mics-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("redis.conf");
        let sentinel = config.contains("sentinel monitor");
        let storage = if sentinel { "" } else { "save \"\"\nappendonly no\n" };
        // A configuration that names a port has its own idea of it, e.g. for TLS.
        let listen = if config.contains("port 0") { String::new() } else { format!("port {port}\n") };
        let text = format!("{listen}bind 127.0.0.1\ndir {}\n{storage}{config}\n", folder.display());
        std::fs::write(&file, text).expect("a configuration");
        let mut command = Command::new("redis-server");
        command.arg(&file);
        if sentinel {
            command.arg("--sentinel");
        }
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server starts");
        let server = Server { process, folder, port };
        until("the server listens", || async { TcpStream::connect(("127.0.0.1", port)).is_ok() }).await;
        server
    }

    /// Stops it without closing anything: `STOP` freezes, `CONT` goes on.
    pub fn signal(&self, signal: &str) {
        let _ = Command::new("kill").arg(format!("-{signal}")).arg(self.process.id().to_string()).status();
    }

    pub async fn command(&self, parts: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(parts[0]);
        command.arg(&parts[1..]);
        command.query_async(&mut connection).await
    }

    /// A server that is changing its part in a failover cuts its connections: asked again, for a while.
    pub async fn ask<T: redis::FromRedisValue>(&self, parts: &[&str]) -> T {
        let give_up = Instant::now() + Duration::from_secs(10);
        loop {
            match self.command(parts).await {
                Ok(answer) => return redis::from_redis_value(answer).expect("the expected type"),
                Err(error) => assert!(Instant::now() < give_up, "no answer: {error}"),
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

pub async fn until<F: Future<Output = bool>>(what: &str, ready: impl FnMut() -> F) {
    within(Duration::from_secs(30), what, ready).await;
}

pub async fn within<F: Future<Output = bool>>(limit: Duration, what: &str, mut ready: impl FnMut() -> F) {
    let give_up = Instant::now() + limit;
    while !ready().await {
        assert!(Instant::now() < give_up, "gave up waiting: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub fn directory(connection: &str) -> RedisDirectory {
    let config = RedisConfig::parse(connection).expect("a valid connection string");
    let metrics = Metrics::new(prometheus::Registry::new()).expect("metrics");
    RedisDirectory::new(&config, &metrics).expect("a configuration that can be carried out")
}

/// With a deadline that a busy machine keeps as well.
pub async fn patient(connection: &str) -> Arc<RedisDirectory> {
    let directory = directory(connection).with_deadline(Duration::from_secs(20));
    until("the directory is connected", || async { directory.routes("t", &["nobody".into()]).await.is_ok() }).await;
    Arc::new(directory)
}

pub fn limits(tenant: u32) -> ConnectionLimits {
    ConnectionLimits { tenant, user: 0, lease_ms: 60_000, again: false }
}

/// A cluster of `masters` with as many replicas. The last part of the connection string is the first master.
pub async fn cluster(masters: usize, replicas: usize) -> Vec<Server> {
    let mut servers = Vec::new();
    for _ in 0..masters + replicas {
        let settings = format!(
            "cluster-enabled yes\ncluster-port {}\ncluster-node-timeout 1500\ncluster-allow-replica-migration no\n\
             repl-diskless-sync-delay 0",
            free_port()
        );
        servers.push(Server::start(free_port(), &settings).await);
    }
    let bus = |server: &Server| {
        let text = std::fs::read_to_string(server.folder.join("redis.conf")).expect("its configuration");
        let line = text.lines().find(|line| line.starts_with("cluster-port")).expect("its bus").to_owned();
        line.rsplit(' ').next().expect("a port").to_owned()
    };
    for (n, server) in servers.iter().enumerate() {
        let (first, next) = (n * 16_384 / masters, (n + 1) * 16_384 / masters);
        if n < masters {
            let range = [first.to_string(), (next - 1).to_string()];
            server.command(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await.expect("slots");
        }
        // Ranks for elections without a tie.
        server.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]).await.expect("an epoch");
    }
    let first_bus = bus(&servers[0]);
    for server in &servers[1..] {
        let meet = ["CLUSTER", "MEET", "127.0.0.1", &servers[0].port.to_string(), &first_bus];
        server.command(&meet).await.expect("meeting");
    }
    let known = format!("cluster_known_nodes:{}", servers.len());
    for server in &servers {
        until("all have met", || async { server.ask::<String>(&["CLUSTER", "INFO"]).await.contains(&known) }).await;
    }
    for n in 0..replicas {
        let master: String = servers[n % masters].ask(&["CLUSTER", "MYID"]).await;
        let replica = &servers[masters + n];
        until("replicating", || async { replica.command(&["CLUSTER", "REPLICATE", &master]).await.is_ok() }).await;
    }
    for server in &servers {
        let complete = || async {
            let synced = server.ask::<String>(&["INFO", "replication"]).await;
            let synced = synced.contains("role:master") || synced.contains("master_link_status:up");
            synced && server.ask::<String>(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
        };
        until("the cluster is complete", complete).await;
    }
    servers
}

pub fn connection_of(servers: &[Server]) -> String {
    servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect::<Vec<_>>().join(",")
}

/// Every key and value of a server, as text.
pub async fn everything(server: &Server) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for key in server.ask::<Vec<String>>(&["KEYS", "*"]).await {
        let kind: String = server.ask(&["TYPE", &key]).await;
        let value: redis::Value = match kind.as_str() {
            "hash" => server.ask(&["HGETALL", &key]).await,
            "zset" => server.ask(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await,
            "set" => server.ask(&["SMEMBERS", &key]).await,
            other => panic!("{key} is a {other}, which is not in the list of keys"),
        };
        all.insert(key, format!("{value:?}"));
    }
    all
}

/// A master with a replica, watched by three sentinels.
pub struct Sentinels {
    pub servers: Vec<Server>,
    pub sentinels: Vec<Server>,
}

impl Sentinels {
    pub async fn start() -> Self {
        let master = Server::start(free_port(), "repl-diskless-sync-delay 0").await;
        let replica = Server::start(free_port(), &format!("replicaof 127.0.0.1 {}", master.port)).await;
        let follows =
            || async { replica.ask::<String>(&["INFO", "replication"]).await.contains("master_link_status:up") };
        until("the replica follows", follows).await;
        let watch = format!(
            "sentinel monitor chat 127.0.0.1 {} 2\nsentinel down-after-milliseconds chat 1000\n\
             sentinel failover-timeout chat 3000",
            master.port
        );
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Server::start(free_port(), &watch).await);
        }
        for sentinel in &sentinels {
            let complete = || async {
                let info: String = sentinel.ask(&["INFO", "sentinel"]).await;
                info.contains("slaves=1,sentinels=3")
            };
            until("the sentinels know each other and the replica", complete).await;
        }
        Sentinels { servers: vec![master, replica], sentinels }
    }

    pub fn connection(&self) -> String {
        format!("{},serviceName=chat", connection_of(&self.sentinels))
    }
}
