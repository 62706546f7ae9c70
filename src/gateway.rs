//! Composition: from configuration to a running node, and its orderly end. The only place that knows every part.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_server::ServerHandle;
use mics_actors::metrics::Metrics;
use mics_actors::node::{Node, Ports};
use mics_actors::ports::{EventsOff, MemoryDirectory, MemoryEvents, MemoryLink, PeerNode};
use mics_actors::settings::{HARD_FRAME_CAP, Settings, TenantSettings, Withdrawal};
use mics_domain::breaker::BreakerPolicy;
use mics_domain::delivery::Delivery;
use mics_domain::offline::OfflineLimits;
use mics_domain::policy::HookDefaults;
use mics_domain::ports::{Directory, EventSink, Hooks, PeerAnswer, PeerCall, PeerLink};
use mics_domain::tenant::Secret;
use mics_domain::trace::NoTraces;
use tokio::time::{Instant, timeout_at};

use crate::admin::{Admin, AdminSettings};
use crate::certificate::{self, Shown};
use crate::config::{DedupMode, GatewayConfig, Mode, Source};
use crate::grpc::{GrpcLink, LinkSettings, NodeServer, ServerSettings};
use crate::hookmock::{EmbeddedHooks, MockSettings, MockTenant};
use crate::hooks::client::{HostRules, HttpHookSettings, HttpHooks};
use crate::hooks::{HOOK_BUDGET, sign};
use crate::http::app::Surface;
use crate::http::listener::{self, H2Sockets, TlsPort};
use crate::kafka::{Connection, KafkaConfig, KafkaSink, Limits, Retries};
use crate::redis::{RedisConfig, RedisDirectory};
use crate::reload::Reloader;
use crate::traces::Traces;

/// Events that `mics dev` keeps for its debug view.
const DEV_EVENTS: usize = 1_000;
/// Descriptors left for everything but client sockets.
const SPARE_DESCRIPTORS: u64 = 256;
/// How long other nodes may finish what they ask at the end.
const LAST_CALLS: Duration = Duration::from_secs(1);
/// How long one try to publish an event may take.
const EVENT_TRY: Duration = Duration::from_secs(10);
/// Room in an event for ids beside the body.
const EVENT_OVERHEAD: usize = 64 << 10;
/// Largest event when bodies have no limit.
const MOST_EVENT_BYTES: usize = 64 << 20;
/// Room in a forward for recipients and ids beside the body.
const GRPC_OVERHEAD: usize = 16 << 20;
const LINK_IDLE: Duration = Duration::from_secs(300);

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{setting}={port}: can't listen on {address}: {error}", port = address.port())]
    Listen { setting: &'static str, address: SocketAddr, error: io::Error },
    #[error("REDIS__CONNECTION: {0}")]
    Redis(String),
    #[error("KAFKA__BOOTSTRAP_SERVERS: {0}")]
    Kafka(String),
    #[error("{0}")]
    Other(String),
}

fn other(error: impl std::fmt::Display) -> StartError {
    StartError::Other(error.to_string())
}

/// A node that serves.
pub struct Running {
    pub node: Arc<Node>,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where operators look; `None` = not served.
    pub admin: Option<SocketAddr>,
    /// Where clients connect over TLS; `None` = not served.
    pub tls: Option<SocketAddr>,
    pub reloader: Arc<Reloader>,
    server: ServerHandle,
    grpc: Option<NodeServer>,
    kafka: Option<Arc<KafkaSink>>,
    traces: Option<Arc<Traces>>,
}

impl Running {
    /// Leaves: not ready, sessions asked to go, then the listener, then what is still to be told. All of it within the drain
    /// time: who needs less than its part leaves the rest to those who come after.
    pub async fn stop(self) {
        let deadline = Instant::now() + self.node.settings.drain_timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        self.node.drain().await;
        let _ = timeout_at(deadline, self.server.stop(false)).await;
        if let Some(grpc) = self.grpc {
            grpc.stop(LAST_CALLS.min(left() / 4)).await;
        }
        tokio::join!(flush(self.kafka, left()), finish(self.traces, left()));
    }
}

async fn flush(kafka: Option<Arc<KafkaSink>>, time: Duration) {
    let Some(kafka) = kafka else { return };
    let lost = kafka.close(time).await;
    if lost > 0 {
        tracing::error!(lost, "events_lost_at_shutdown");
    }
}

async fn finish(traces: Option<Arc<Traces>>, time: Duration) {
    let Some(traces) = traces else { return };
    let _ = actix_rt::task::spawn_blocking(move || traces.finish(time)).await;
}

fn listen(setting: &'static str, address: IpAddr, port: u16) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(address, port);
    listener::bind(address).map_err(|error| StartError::Listen { setting, address, error })
}

fn tls_port(config: &GatewayConfig, shown: Arc<Shown>) -> Result<TlsPort, StartError> {
    let listener = listen("TLS_PORT", config.bind_address, config.tls_port)?;
    Ok((listener, certificate::server_config(shown).map_err(other)?))
}

/// Starts a node; `source` is what its configuration was read from. Needs a running actix system.
pub fn start(config: &GatewayConfig, mode: Mode, source: Source) -> Result<Running, StartError> {
    // A port that is taken ends the start before anybody hears of the node.
    let main = listen("PORT", config.bind_address, config.port)?;
    let operators = match config.admin_port {
        0 => None,
        port => Some(listen("ADMIN_PORT", config.admin_bind_address, port)?),
    };
    let certificate = config.tls_certificate.as_ref().map(Shown::new);
    let tls = certificate.clone().map(|shown| tls_port(config, shown)).transpose()?;
    let address = main.local_addr().map_err(other)?;
    let metrics = metrics().map_err(other)?;

    let grpc_late = Arc::new(Late::default());
    let grpc = node_server(config, &grpc_late, &metrics).map_err(other)?;
    let kafka = kafka(config, &metrics)?;
    let directory = directory(config, &metrics)?;
    let traces = config.traces.as_ref().map(|traces| Traces::start(traces, &config.node_id)).transpose();
    let traces = traces.map_err(other)?.map(Arc::new);
    let alone = directory.standalone();
    let ports = Ports {
        hooks: hooks(config, mode),
        link: if alone { Arc::new(MemoryLink::new()) } else { link(config, &grpc)? },
        events: match (&kafka, mode) {
            (Some(kafka), _) => kafka.clone(),
            (None, Mode::Dev) => Arc::new(MemoryEvents::new(DEV_EVENTS)) as Arc<dyn EventSink>,
            (None, Mode::Gateway) => Arc::new(EventsOff),
        },
        directory,
        tracer: match &traces {
            Some(traces) => traces.clone(),
            None => Arc::new(NoTraces),
        },
    };
    let sockets = h2_sockets(config, &grpc)?;
    let node = Node::start(settings(config, mode), ports, metrics);
    let _ = grpc_late.0.set(node.clone());
    announce(config, mode, alone, kafka.is_some());

    let http = actix_web_prom::PrometheusMetricsBuilder::new("mics")
        .registry(node.metrics.registry.clone())
        .mask_unmatched_patterns("UNKNOWN")
        .build()
        .map_err(other)?;
    let surface = if mode == Mode::Dev { Surface::Dev } else { Surface::Public };
    let workers =
        if config.workers > 0 { config.workers } else { std::thread::available_parallelism().map_or(2, usize::from) };
    let tls_address = tls.as_ref().map(|(port, _)| port.local_addr()).transpose().map_err(other)?;
    let server = listener::serve(main, tls, workers, node.clone(), surface, http, sockets).map_err(other)?;
    let handle = server.handle();
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "server_ended");
        }
    });
    let reloader = Reloader::new(source, mode, config.clone(), node.clone(), certificate);
    let admin = operators.map(|port| admin(config, port, &node, &reloader)).transpose()?;
    Ok(Running { node, address, admin, tls: tls_address, reloader, server: handle, grpc, kafka, traces })
}

/// The node's own metrics and those of its process (processor time, memory, descriptors), which only Linux tells.
fn metrics() -> prometheus::Result<Metrics> {
    let registry = prometheus::Registry::new();
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Metrics::new(registry)
}

fn announce(config: &GatewayConfig, mode: Mode, alone: bool, events: bool) {
    let tenants = config.tenants.keys().cloned().collect::<Vec<_>>().join(",");
    tracing::info!(node_id = config.node_id, tenants, ?mode, "node_started");
    if alone {
        tracing::warn!("stand_alone: REDIS__CONNECTION is not set; users of other nodes can't be reached");
    }
    match (&config.kafka_bootstrap_servers, events) {
        (Some(brokers), true) => tracing::info!(brokers, "events_on"),
        _ => tracing::warn!("events_off: KAFKA__BOOTSTRAP_SERVERS is not set; no event is published"),
    }
}

fn admin(
    config: &GatewayConfig,
    listener: TcpListener,
    node: &Arc<Node>,
    reloader: &Arc<Reloader>,
) -> Result<SocketAddr, StartError> {
    let address = listener.local_addr().map_err(other)?;
    let settings = AdminSettings {
        token: config.admin_token.as_ref().map(|token| token.expose().to_owned()),
        system_user: config.admin_system_user.clone(),
        max_body_bytes: longest_body(config),
    };
    let admin = Admin::new(settings, node.clone(), reloader.clone());
    let server = listener::serve_admin(listener, node.clone(), admin).map_err(other)?;
    actix_rt::spawn(server);
    Ok(address)
}

/// Bytes of the longest message body; without a limit what a client's frame may have.
fn longest_body(config: &GatewayConfig) -> usize {
    match config.max_message_bytes {
        0 => HARD_FRAME_CAP,
        limit => limit,
    }
}

fn hooks(config: &GatewayConfig, mode: Mode) -> Arc<dyn Hooks> {
    if mode == Mode::Dev && config.tenants.is_empty() {
        return Arc::new(EmbeddedHooks::new(MockTenant::new(MockSettings::default()), Arc::default()));
    }
    let hosts = HostRules::new(config.hook_url_allow_list.iter().cloned());
    let settings = HttpHookSettings { budget: HOOK_BUDGET, max_response_bytes: config.hook_max_response_bytes, hosts };
    Arc::new(HttpHooks::new(settings))
}

fn directory(config: &GatewayConfig, metrics: &Metrics) -> Result<Arc<dyn Directory>, StartError> {
    let Some(connection) = &config.redis_connection else { return Ok(Arc::new(MemoryDirectory::standalone())) };
    let mistakes = |mistakes: crate::redis::RedisMistakes| StartError::Redis(mistakes.to_string());
    let parsed = RedisConfig::parse(connection.expose()).map_err(mistakes)?;
    Ok(Arc::new(RedisDirectory::new(&parsed, metrics).map_err(mistakes)?))
}

fn kafka(config: &GatewayConfig, metrics: &Metrics) -> Result<Option<Arc<KafkaSink>>, StartError> {
    let Some(bootstrap) = &config.kafka_bootstrap_servers else { return Ok(None) };
    let connection = Connection {
        bootstrap: bootstrap.clone(),
        client_id: config.node_id.clone(),
        properties: config.kafka_properties.clone(),
    };
    let limits = Limits {
        events: config.kafka_queue_capacity as u64,
        events_per_tenant: config.kafka_max_pending_per_tenant as u64,
        bytes: config.kafka_queue_max_bytes,
        bytes_per_tenant: config.kafka_max_pending_bytes_per_tenant,
        second: config.kafka_dlq_fallback_queue_capacity as u64,
        second_per_tenant: config.kafka_dlq_fallback_max_pending_per_tenant as u64,
    };
    let max_body = if config.max_message_bytes == 0 { MOST_EVENT_BYTES } else { config.max_message_bytes };
    let kafka = KafkaConfig {
        connection,
        limits,
        retries: Retries { tries: config.kafka_max_attempts, backoff: config.kafka_retry_backoff },
        second_retries: Retries {
            tries: config.kafka_dlq_fallback_max_attempts,
            backoff: config.kafka_dlq_fallback_retry_backoff,
        },
        try_timeout: EVENT_TRY,
        max_event_bytes: max_body + EVENT_OVERHEAD,
    };
    let node_id = config.node_id.clone();
    let sink = KafkaSink::new(&kafka, Arc::new(move |event| sign::event_bytes(event, &node_id)), metrics);
    sink.map(|sink| Some(Arc::new(sink))).map_err(|error| StartError::Kafka(error.to_string()))
}

/// The node, known to the node-to-node service only after both were made.
#[derive(Default)]
struct Late(std::sync::OnceLock<Arc<Node>>);

impl PeerNode for Late {
    fn deliver(&self, delivery: &Delivery, users: &[Arc<str>]) -> Vec<u32> {
        self.0.get().map_or_else(|| vec![0; users.len()], |node| node.deliver(delivery, users))
    }

    fn answer(&self, call: PeerCall) -> PeerAnswer {
        match (self.0.get(), call) {
            (Some(node), call) => node.answer(call),
            // Not "not taken": then they would be given up.
            (None, PeerCall::Place { .. }) => PeerAnswer::NotServed,
            (None, PeerCall::Lease { .. }) => PeerAnswer::Leased { kept: Vec::new(), held: false },
            (None, PeerCall::Kick { .. }) => PeerAnswer::Kicked(0),
            (None, PeerCall::Report { .. }) => PeerAnswer::Report(Box::default()),
            (None, _) => PeerAnswer::Done,
        }
    }
}

impl Late {
    /// An id for a delivery that came without one.
    fn next_delivery(&self) -> u128 {
        self.0.get().map_or(1, |node| node.next_delivery())
    }
}

/// The node-to-node service; a node that stands alone has none.
fn node_server(config: &GatewayConfig, node: &Arc<Late>, metrics: &Metrics) -> io::Result<Option<NodeServer>> {
    if config.redis_connection.is_none() {
        return Ok(None);
    }
    let token = config.cluster_grpc_token.as_ref().map(|token| token.expose().to_owned());
    let unauthorized = metrics.grpc_unauthorized_total.with_label_values::<&str>(&[]);
    let max_message_bytes = longest_body(config) + GRPC_OVERHEAD;
    let settings = ServerSettings { token, max_message_bytes, threads: 1, unauthorized };
    let late = node.clone();
    NodeServer::start(&settings, node.clone(), Arc::new(move || late.next_delivery())).map(Some)
}

/// The runtime on which this node talks to other nodes.
fn handle(grpc: &Option<NodeServer>) -> Result<tokio::runtime::Handle, StartError> {
    grpc.as_ref().map(|grpc| grpc.handle().clone()).ok_or_else(|| other("the node service is not running"))
}

fn link(config: &GatewayConfig, grpc: &Option<NodeServer>) -> Result<Arc<dyn PeerLink>, StartError> {
    let handle = handle(grpc)?;
    let settings = LinkSettings {
        token: config.cluster_grpc_token.as_ref().map(|token| token.expose().to_owned()),
        breaker: BreakerPolicy {
            failure_threshold: config.grpc_breaker_failure_threshold,
            open_ms: config.grpc_breaker_open.as_millis() as u64,
        },
        idle: LINK_IDLE,
        deadline: LinkSettings::DEADLINE,
        max_message_bytes: longest_body(config) + GRPC_OVERHEAD,
    };
    Ok(Arc::new(GrpcLink::new(&settings, handle).map_err(other)?))
}

/// HTTP/2 sockets of the main port go to the node-to-node service, unless that has a port of its own.
fn h2_sockets(config: &GatewayConfig, grpc: &Option<NodeServer>) -> Result<H2Sockets, StartError> {
    let Some(grpc) = grpc else { return Ok(None) };
    if config.grpc_port != 0 {
        let address = SocketAddr::new(config.bind_address, config.grpc_port);
        grpc.listen(address).map_err(|error| StartError::Listen { setting: "GRPC_PORT", address, error })?;
        return Ok(None);
    }
    let sockets = grpc.sockets();
    Ok(Some(Arc::new(move |socket| drop(sockets.hand_over(socket)))))
}

/// Sockets that the process may open, less what it needs otherwise.
fn connection_limit(configured: usize) -> usize {
    if configured > 0 {
        return configured;
    }
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)).and_then(|soft| soft.parse::<u64>().ok());
    soft.map_or(0, |soft| soft.saturating_sub(SPARE_DESCRIPTORS) as usize)
}

fn settings(config: &GatewayConfig, mode: Mode) -> Settings {
    Settings {
        node_id: config.node_id.clone(),
        endpoint: config.public_endpoint.clone(),
        max_message_bytes: config.max_message_bytes,
        outbox_max_bytes: config.session_outbox_max_bytes,
        pipeline_window: config.session_pipeline_window,
        max_connections: connection_limit(config.max_connections),
        max_pending_handshakes: config.max_pending_handshakes,
        dedup_max_records: config.dedup_max_records_per_tenant,
        dedup_shared: config.dedup_mode == DedupMode::Redis,
        keepalive: config.ws_keepalive_interval,
        offline: OfflineLimits {
            max_messages_per_user: config.offline_buffer_max_messages_per_user,
            max_bytes_per_user: config.offline_buffer_max_bytes_per_user,
            max_users: config.offline_buffer_max_users_per_tenant,
        },
        group_chunk: config.group_route_chunk_size,
        group_offline_max_users: config.group_offline_buffer_max_users,
        group_max_members: config.group_members_max_users,
        route_cache_ttl: config.local_route_cache_ttl,
        route_cache_bytes: config.local_route_cache_size_bytes as u64,
        withdrawal: Withdrawal {
            capacity: config.admission_unregister_retry_queue_capacity,
            attempts: config.admission_unregister_retry_max_attempts,
            backoff: config.admission_unregister_retry_backoff,
        },
        hooks: HookDefaults {
            max_concurrency: config.hook_max_concurrency.unsigned_abs(),
            queue_timeout_ms: config.hook_queue_timeout.as_millis() as u64,
            breaker_failure_threshold: config.hook_breaker_failure_threshold,
            breaker_open_ms: config.hook_breaker_open.as_millis() as u64,
            sign_required: config.hook_sign_required,
        },
        drain_timeout: config.drain_timeout,
        tenants: tenants(config, mode),
    }
}

/// What the runtime is to know of the tenants.
pub fn tenants(config: &GatewayConfig, mode: Mode) -> BTreeMap<String, TenantSettings> {
    if mode == Mode::Dev && config.tenants.is_empty() {
        let mock = MockSettings::default();
        let tenant = |(id, secret): (&String, &String)| {
            let secret = Secret::new(secret);
            let auth_url = mock.hook_base_url.clone();
            (id.clone(), TenantSettings { auth_url, secret, hook_max_concurrency: None, deny_when_degraded: false })
        };
        return mock.tenant_secrets.iter().map(tenant).collect();
    }
    let tenant = |(id, tenant): (&String, &crate::config::TenantSettings)| {
        let secret = tenant.secret.as_ref().map_or_else(Secret::default, |secret| Secret::new(secret.expose()));
        let settings = TenantSettings {
            auth_url: tenant.auth_url.clone(),
            secret,
            hook_max_concurrency: tenant.hook_max_concurrency,
            deny_when_degraded: tenant.deny_when_degraded,
        };
        (id.clone(), settings)
    };
    config.tenants.iter().map(tenant).collect()
}
