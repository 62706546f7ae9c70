//! A node behind a real socket, in a thread of its own: with a test's own hooks, or as the binary starts it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use mics::config::{GatewayConfig, Mode, Source};
use mics::http::app::Surface;
use mics::http::listener;
use mics_actors::metrics::Metrics;
use mics_actors::node::{Node, Ports};
use mics_actors::ports::{MemoryDirectory, MemoryEvents, MemoryLink};
use mics_actors::settings::{Settings, TenantSettings, Withdrawal};
use mics_domain::offline::OfflineLimits;
use mics_domain::policy::HookDefaults;
use mics_domain::tenant::Secret;
use mics_domain::trace::NoTraces;
use tokio::sync::oneshot;

use super::client::{self, Client, http_get};
use super::tls::Identity;
use super::{Book, PATIENCE};

/// Settings of a node with tenants `t1` and `t2`; change what a test is about.
pub struct Setup {
    pub book: Book,
    pub settings: Settings,
    pub workers: usize,
    pub cluster: Option<Cluster>,
}

/// What nodes of one test share instead of Redis and a network.
#[derive(Clone)]
pub struct Cluster {
    pub directory: Arc<MemoryDirectory>,
    pub link: MemoryLink,
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster { directory: Arc::new(MemoryDirectory::shared()), link: MemoryLink::new() }
    }
}

impl Cluster {
    /// Nodes `node-1` to `node-n`, each of which knows the others. `change` sees each node's setup first.
    pub fn start(&self, n: usize, change: impl Fn(Setup) -> Setup) -> Vec<Gateway> {
        let nodes: Vec<Gateway> = (1..=n).map(|n| self.node(&format!("node-{n}"), &change)).collect();
        for node in &nodes {
            super::wait_until("the nodes know each other", || node.node.members.live().len() == n);
        }
        nodes
    }

    pub fn node(&self, id: &str, change: impl Fn(Setup) -> Setup) -> Gateway {
        let mut setup = change(Setup { cluster: Some(self.clone()), ..Setup::default() });
        setup.settings.node_id = id.into();
        setup.settings.endpoint = format!("http://{id}.example");
        setup.start()
    }
}

impl Default for Setup {
    fn default() -> Self {
        Setup { book: Book::default(), settings: settings(), workers: 2, cluster: None }
    }
}

impl Setup {
    pub fn with(book: Book) -> Self {
        Setup { book, ..Setup::default() }
    }

    pub fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub fn start(self) -> Gateway {
        Gateway::start(self)
    }
}

fn settings() -> Settings {
    let tenant = || TenantSettings {
        auth_url: "http://hooks.example".into(),
        secret: Secret::new(super::book::SECRET),
        hook_max_concurrency: None,
        deny_when_degraded: false,
    };
    Settings {
        node_id: "node-1".into(),
        endpoint: "http://node-1.example".into(),
        max_message_bytes: 1 << 20,
        outbox_max_bytes: 1 << 20,
        pipeline_window: 16,
        max_connections: 0,
        max_pending_handshakes: 0,
        dedup_max_records: 100_000,
        dedup_shared: false,
        keepalive: Duration::ZERO,
        offline: OfflineLimits { max_messages_per_user: 0, max_bytes_per_user: 0, max_users: 0 },
        group_chunk: 256,
        group_offline_max_users: 1_000,
        group_max_members: 10_000,
        route_cache_ttl: Duration::from_secs(5),
        route_cache_bytes: 1 << 20,
        withdrawal: Withdrawal::default(),
        hooks: HookDefaults { max_concurrency: 1_000, ..HookDefaults::default() },
        drain_timeout: Duration::from_secs(5),
        tenants: BTreeMap::from(["t1", "t2"].map(|id| (id.to_owned(), tenant()))),
    }
}

type Ready = (SocketAddr, Arc<Node>, Arc<Book>);

/// A running node. Dropping it has it leave, without waiting for that.
pub struct Gateway {
    /// Over TLS where the tests are.
    pub address: SocketAddr,
    pub node: Arc<Node>,
    pub book: Arc<Book>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.begin_stop();
    }
}

impl Gateway {
    fn start(setup: Setup) -> Gateway {
        Gateway::run(move |ready, stopped| {
            actix_rt::System::new().block_on(async move {
                let book = Arc::new(setup.book);
                let alone = || Cluster { directory: Arc::new(MemoryDirectory::standalone()), link: MemoryLink::new() };
                let Cluster { directory, link } = setup.cluster.unwrap_or_else(alone);
                let endpoint = setup.settings.endpoint.clone();
                let ports = Ports {
                    hooks: book.clone(),
                    directory,
                    link: Arc::new(link.clone()),
                    events: Arc::new(MemoryEvents::new(10_000)),
                    tracer: Arc::new(NoTraces),
                };
                let node = Node::start(setup.settings, ports, Metrics::new(prometheus::Registry::new()).unwrap());
                let _reachable = link.register(&endpoint, node.clone());
                let socket = listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
                let mut address = socket.local_addr().unwrap();
                let tls = crate::SECURED.then(|| {
                    let socket = listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
                    address = socket.local_addr().unwrap();
                    let identity = Identity::shared();
                    client::TLS.get_or_init(|| identity.client(rustls::ALL_VERSIONS));
                    (socket, identity.server())
                });
                let http =
                    actix_web_prom::PrometheusMetricsBuilder::new("mics").registry(node.metrics.registry.clone());
                let http = http.build().unwrap();
                let server =
                    listener::serve(socket, tls, setup.workers, node.clone(), Surface::Debug, http, None).unwrap();
                let handle = server.handle();
                actix_rt::spawn(server);
                ready.send((address, node.clone(), book)).unwrap();
                let _ = stopped.await;
                node.drain().await;
                handle.stop(false).await;
            });
        })
    }

    /// Starts a node as the binary does, from variables.
    pub fn from_variables(variables: &[(&str, String)], mode: Mode) -> Gateway {
        let always = [("PORT", "0"), ("BIND_ADDRESS", "127.0.0.1"), ("NODE_ID", "node-1"), ("WORKERS", "2")];
        let always = always.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let given = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let source = Source::from_pairs(always.into_iter().chain(given));
        let (config, _) = GatewayConfig::load(&source, mode).unwrap();
        Gateway::run(move |ready, stopped| {
            actix_rt::System::new().block_on(async move {
                let running = mics::gateway::start(&config, mode, source).unwrap();
                running.reloader.watch();
                ready.send((running.address, running.node.clone(), Arc::default())).unwrap();
                let _ = stopped.await;
                running.stop().await;
            });
        })
    }

    fn run(serve: impl FnOnce(std::sync::mpsc::Sender<Ready>, oneshot::Receiver<()>) + Send + 'static) -> Gateway {
        let (ready, started) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || serve(ready, stopped));
        let (address, node, book) = started.recv_timeout(PATIENCE).expect("the node starts");
        Gateway { address, node, book, stop: Some(stop), thread: Some(thread) }
    }

    /// What SIGTERM does.
    pub fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Waits until the node has left.
    pub fn stopped(mut self) {
        self.begin_stop();
        self.thread.take().unwrap().join().unwrap();
    }

    /// A socket whose upgrade succeeded; nothing was read from it.
    pub fn open(&self, query: &str) -> Client {
        Client::open(self.address, query)
    }

    /// A client that was let in.
    pub fn connect(&self, tenant: &str, user: &str, device: &str) -> Client {
        let mut client = self.open(&format!("tenantId={tenant}&token=valid:{user}&deviceId={device}"));
        client.welcome();
        client
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        http_get(self.address, path)
    }

    /// Live sessions of a tenant.
    pub fn sessions(&self, tenant: &str) -> usize {
        self.node.tenants().get(tenant).unwrap().sessions.count()
    }
}
