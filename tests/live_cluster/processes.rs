//! Processes of a cluster: started on ports of their own, shown when a test fails, ended when dropped. Must not know what
//! is sent.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::http_get;
use super::redis_support::{Server, free_port, until};

pub const SECRET: &str = "a secret of the tenant";
const BINARY: &str = env!("CARGO_BIN_EXE_mics");

/// A port below those that outgoing connections get, so that it is still free when the process comes.
pub fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 1000) as u16 * 20;
    loop {
        let port = 11_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// One process with its log.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    pub fn start(name: &str, command: &mut Command) -> Self {
        static LOGS: AtomicU32 = AtomicU32::new(0);
        let number = LOGS.fetch_add(1, Ordering::Relaxed);
        let log = std::env::temp_dir().join(format!("mics-live-{}-{number}.log", std::process::id()));
        let file = File::create(&log).expect("a log");
        command.stdout(file.try_clone().expect("a log")).stderr(file);
        let child = command.spawn().expect("the process starts");
        Process { child, name: name.to_owned(), log }
    }

    /// `STOP`, `CONT`, `TERM` or `KILL`.
    pub fn signal(&self, signal: &str) {
        let _ = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The exit code, once there is one.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().expect("a child").map(|status| status.code().unwrap_or(-1))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal("CONT");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let log = self.log();
        if std::thread::panicking() || log.contains("panicked at") {
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- {}: the last lines of {}", self.name, lines.len());
            lines[lines.len().saturating_sub(60)..].iter().for_each(|line| eprintln!("{line:.400}"));
        }
        let _ = std::fs::remove_file(&self.log);
    }
}

/// A gateway that may be down at the moment; id, port and variables stay.
pub struct Node {
    pub id: String,
    pub port: u16,
    variables: BTreeMap<String, String>,
    process: Option<Process>,
}

impl Node {
    pub fn address(&self) -> SocketAddr {
        local(self.port)
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the node runs")
    }

    /// Starts it and waits until it listens.
    pub async fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.id);
        let mut command = Command::new(BINARY);
        command.arg("gateway").envs(&self.variables);
        self.process = Some(Process::start(&self.id, &mut command));
        let listening = || {
            let process = self.process();
            assert_eq!(process.ended(), None, "it does not start: {}", process.log());
            std::net::TcpStream::connect(self.address()).is_ok()
        };
        wait("the node listens", listening).await;
    }

    pub fn kill(&mut self) {
        self.process().signal("KILL");
        self.process = None;
    }

    pub fn freeze(&mut self) {
        self.process().signal("STOP");
    }

    pub fn thaw(&mut self) {
        self.process().signal("CONT");
    }

    /// SIGTERM; the exit code and how long it took.
    pub async fn stop(&mut self) -> (i32, Duration) {
        let begun = Instant::now();
        self.process().signal("TERM");
        let code = self.exit().await;
        (code, begun.elapsed())
    }

    /// Waits until the process has ended by itself.
    pub async fn exit(&mut self) -> i32 {
        let mut code = None;
        wait("the process ends", || {
            code = self.process().ended();
            code.is_some()
        })
        .await;
        self.process = None;
        code.expect("it ended")
    }

    pub fn ready(&self) -> u16 {
        http_get(self.address(), "/readyz").0
    }

    /// Sum of a metric over all its series whose labels contain all of `labels`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (_, text) = http_get(self.address(), "/metrics");
        let lines = text.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.trim().parse::<f64>().ok()).sum()
    }

    /// Live nodes as this one sees them.
    pub fn sees(&self) -> usize {
        self.metric("mics_cluster_nodes", &[]) as usize
    }
}

/// Gateways `node-1` to `node-n`, a hook mock, and one Redis unless the test brings another.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub redis: Option<Server>,
    redis_connection: String,
    hooks: SocketAddr,
    _mock: Option<Process>,
}

impl Cluster {
    pub async fn start(n: usize) -> Cluster {
        Cluster::with(n, |_| {}).await
    }

    /// `change` sees each node before it starts.
    pub async fn with(n: usize, change: impl FnMut(&mut Plan)) -> Cluster {
        let redis = Server::start(free_port(), "").await;
        let connection = format!("127.0.0.1:{}", redis.port);
        let mut cluster = Cluster::on(&connection, n, change).await;
        cluster.redis = Some(redis);
        cluster
    }

    pub async fn on(redis: &str, n: usize, change: impl FnMut(&mut Plan)) -> Cluster {
        let port = port();
        let mut mock = Command::new(BINARY);
        mock.arg("hookmock").env("PORT", port.to_string()).env("HOOK_BASE_URL", format!("http://127.0.0.1:{port}"));
        mock.env("HOOK_TENANT_SECRETS", format!("{{\"t1\":\"{SECRET}\"}}"));
        let mock = Process::start("hookmock", &mut mock);
        Cluster::of(redis, local(port), Some(mock), n, change).await
    }

    /// With a tenant's back end that the test brings.
    pub async fn of(
        redis: &str,
        hooks: SocketAddr,
        mock: Option<Process>,
        n: usize,
        mut change: impl FnMut(&mut Plan),
    ) -> Cluster {
        wait("the hooks answer", || std::net::TcpStream::connect(hooks).is_ok()).await;
        let mut cluster =
            Cluster { nodes: Vec::new(), redis: None, redis_connection: redis.to_owned(), hooks, _mock: mock };
        for number in 1..=n {
            cluster.add(number, &mut change).await;
        }
        cluster.complete().await;
        cluster
    }

    async fn add(&mut self, number: usize, change: &mut impl FnMut(&mut Plan)) {
        let port = port();
        let mut plan = Plan { number, variables: BTreeMap::new() };
        let id = format!("node-{number}");
        plan.set("PORT", port);
        plan.set("BIND_ADDRESS", "127.0.0.1");
        plan.set("NODE_ID", &id);
        plan.set("PUBLIC_ENDPOINT", format!("http://127.0.0.1:{port}"));
        plan.set("WORKERS", 1);
        plan.set("TENANT_AUTH_MAP", format!("{{\"t1\":\"http://{}\"}}", self.hooks));
        plan.set("TENANT_HOOK_SECRETS", format!("{{\"t1\":\"{SECRET}\"}}"));
        plan.set("REDIS__CONNECTION", &self.redis_connection);
        plan.set("OFFLINE_BUFFER_MAX_MESSAGES_PER_USER", 100_000);
        plan.set("OFFLINE_BUFFER_MAX_BYTES_PER_USER", 64 << 20);
        change(&mut plan);
        let mut node = Node { id, port, variables: plan.variables, process: None };
        node.start().await;
        self.nodes.push(node);
    }

    /// Waits until every node that runs is ready and sees all of them.
    pub async fn complete(&self) {
        let running: Vec<&Node> = self.nodes.iter().filter(|node| node.process.is_some()).collect();
        for node in &running {
            wait("the cluster is complete", || node.ready() == 200 && node.sees() == running.len()).await;
        }
    }

    pub fn redis(&self) -> &Server {
        self.redis.as_ref().expect("a Redis of its own")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for node in self.nodes.iter().filter(|node| node.process.is_some()) {
            let address = node.address();
            // In a thread of its own, where it may fail as well.
            let told = std::thread::spawn(move || http_get(address, "/metrics").1).join().unwrap_or_default();
            eprintln!("--- {}: figures", node.id);
            let figures = ["mics_offline_", "mics_grpc_", "mics_deliveries_", "mics_hook_degraded", "mics_cluster_"];
            let wanted = |line: &&str| {
                let zero = line.ends_with(" 0") || line.contains("_bucket");
                !zero && figures.iter().any(|name| line.starts_with(name))
            };
            told.lines().filter(wanted).for_each(|line| eprintln!("{line}"));
        }
    }
}

/// A node's variables before it starts.
pub struct Plan {
    pub number: usize,
    pub variables: BTreeMap<String, String>,
}

impl Plan {
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.variables.insert(name.to_owned(), value.to_string());
    }
}

pub async fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || std::future::ready(condition())).await;
}

/// Waits without a condition, where time itself is what the test is about.
pub async fn pause(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}
