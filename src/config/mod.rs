//! What an operator may set, read once at start (and again when the file changes) into typed structs. Everything is read before anything
//! is reported. It must not open connections or start anything; other code gets values from here and never from the environment.

mod doc;
mod file;
mod hook_mock;
mod parse;
mod source;
mod tls;
mod values;
mod vars;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

pub use doc::markdown;
pub use hook_mock::{HookMockConfig, HookPolicy};
use parse::Reader;
pub use source::{ConfigError, ConfigErrors, Secret, Source};
pub use vars::{Area, FILE_VAR, HOOK_MOCK_VARS, Kind, VARS, Var};

use crate::certificate::Certificate;

/// An admin token should have at least so many bytes.
const SHORT_TOKEN: usize = 16;

/// Which checks apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Tenants are required.
    Gateway,
    /// Nothing is required.
    Dev,
}

/// Where ids of seen messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DedupMode {
    Memory,
    Redis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

/// What the operator says about a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSettings {
    /// Base of /auth: absolute http(s) URL without a trailing slash.
    pub auth_url: String,
    /// Key that signs /auth.
    pub secret: Option<Secret>,
    /// Positive when set.
    pub hook_max_concurrency: Option<i32>,
    pub deny_when_degraded: bool,
}

/// Settings of `mics gateway` and `mics dev`: one field per variable of [`VARS`], without the unit in the name of a `Duration`.
/// Sizes are bytes; 0 means what the table says.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayConfig {
    pub port: u16,
    pub bind_address: IpAddr,
    pub grpc_port: u16,
    pub tls_port: u16,
    pub tls_cert_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
    /// What the two files hold, when there is a port for it.
    pub tls_certificate: Option<Certificate>,
    pub admin_port: u16,
    pub admin_bind_address: IpAddr,
    /// `None` = open to the loopback.
    pub admin_token: Option<Secret>,
    pub admin_system_user: String,
    pub node_id: String,
    pub public_endpoint: String,
    pub workers: usize,
    pub max_connections: usize,
    pub max_pending_handshakes: usize,
    pub tenants: BTreeMap<String, TenantSettings>,
    /// Where the tenants come from, so that it can be watched.
    pub tenants_file: Option<PathBuf>,
    pub hook_sign_required: bool,
    pub hook_max_concurrency: i32,
    pub hook_queue_timeout: Duration,
    pub hook_breaker_failure_threshold: u32,
    pub hook_breaker_open: Duration,
    /// Lower case host patterns; empty = any host.
    pub hook_url_allow_list: Vec<String>,
    pub hook_max_response_bytes: usize,
    pub ws_keepalive_interval: Duration,
    pub max_message_bytes: usize,
    pub session_outbox_max_bytes: usize,
    pub session_pipeline_window: usize,
    pub dedup_mode: DedupMode,
    pub dedup_max_records_per_tenant: usize,
    pub offline_buffer_max_messages_per_user: usize,
    pub offline_buffer_max_bytes_per_user: usize,
    pub offline_buffer_max_users_per_tenant: usize,
    pub group_offline_buffer_max_users: usize,
    /// May hold a password, hence a secret. `None` = the node stands alone.
    pub redis_connection: Option<Secret>,
    pub group_route_chunk_size: usize,
    pub group_members_max_users: usize,
    pub local_route_cache_ttl: Duration,
    pub local_route_cache_size_bytes: usize,
    /// `host:port,host:port`; `None` = no events are published.
    pub kafka_bootstrap_servers: Option<String>,
    pub kafka_max_attempts: u32,
    pub kafka_queue_capacity: usize,
    pub kafka_max_pending_per_tenant: usize,
    pub kafka_queue_max_bytes: u64,
    pub kafka_max_pending_bytes_per_tenant: u64,
    pub kafka_retry_backoff: Duration,
    pub kafka_dlq_fallback_queue_capacity: usize,
    pub kafka_dlq_fallback_max_pending_per_tenant: usize,
    pub kafka_dlq_fallback_max_attempts: u32,
    pub kafka_dlq_fallback_retry_backoff: Duration,
    /// Settings of the client library by its own names.
    pub kafka_properties: BTreeMap<String, Secret>,
    pub cluster_grpc_token: Option<Secret>,
    pub grpc_breaker_failure_threshold: u32,
    pub grpc_breaker_open: Duration,
    pub drain_timeout: Duration,
    pub admission_unregister_retry_queue_capacity: usize,
    pub admission_unregister_retry_max_attempts: u32,
    pub admission_unregister_retry_backoff: Duration,
    pub log_format: LogFormat,
    /// Filter directives, e.g. `info,mics::hooks=debug`.
    pub log_level: String,
    /// `None`: nothing is traced.
    pub traces: Option<TraceConfig>,
    /// The file that was named, so that it can be watched.
    pub config_file: Option<PathBuf>,
}

impl GatewayConfig {
    /// Reads and checks everything. `Ok` carries warnings (clamped or ignored values), one text each; `Err` every mistake at once.
    pub fn load(source: &Source, mode: Mode) -> Result<(GatewayConfig, Vec<String>), ConfigErrors> {
        let mut r = Reader::new(source, VARS, &[VARS, HOOK_MOCK_VARS]);
        let config = GatewayConfig::read(&mut r, mode);
        config.check(&mut r, mode);
        r.finish(config)
    }

    fn read(r: &mut Reader, mode: Mode) -> GatewayConfig {
        let port = r.port("PORT");
        let grpc_port = r.port("GRPC_PORT");
        let tls_port = r.port("TLS_PORT");
        let (tls_files, tls_certificate) = tls::certificate(r, tls_port);
        let [tls_cert_file, tls_key_file] = tls_files;
        // Read for its mistakes only: accepted for compatibility.
        r.millis("KAFKA_IDLE_DELAY_MS");
        GatewayConfig {
            port,
            bind_address: ip_address(r, "BIND_ADDRESS"),
            grpc_port,
            tls_port,
            tls_cert_file,
            tls_key_file,
            tls_certificate,
            admin_port: r.port("ADMIN_PORT"),
            admin_bind_address: ip_address(r, "ADMIN_BIND_ADDRESS"),
            admin_token: r.secret("ADMIN_TOKEN"),
            admin_system_user: system_user(r),
            node_id: node_id(r),
            public_endpoint: public_endpoint(r, if grpc_port == 0 { port } else { grpc_port }),
            workers: r.size("WORKERS"),
            max_connections: r.size("MAX_CONNECTIONS"),
            max_pending_handshakes: r.size("MAX_PENDING_HANDSHAKES"),
            tenants_file: r.tenants_file("TENANTS_FILE"),
            tenants: tenants(r, mode),
            hook_sign_required: r.bool("HOOK_SIGN_REQUIRED"),
            hook_max_concurrency: r.number("HOOK_MAX_CONCURRENCY"),
            hook_queue_timeout: r.millis("HOOK_QUEUE_TIMEOUT_MS"),
            hook_breaker_failure_threshold: r.number("HOOK_BREAKER_FAILURE_THRESHOLD"),
            hook_breaker_open: r.millis("HOOK_BREAKER_OPEN_MS"),
            hook_url_allow_list: host_patterns(r),
            hook_max_response_bytes: r.size("HOOK_MAX_RESPONSE_BYTES"),
            ws_keepalive_interval: r.seconds("WS_KEEPALIVE_INTERVAL_SECONDS"),
            max_message_bytes: r.size("MAX_MESSAGE_BYTES"),
            session_outbox_max_bytes: r.size("SESSION_OUTBOX_MAX_BYTES"),
            session_pipeline_window: r.size("SESSION_PIPELINE_WINDOW"),
            dedup_mode: if r.choice("DEDUP_MODE") == "redis" { DedupMode::Redis } else { DedupMode::Memory },
            dedup_max_records_per_tenant: r.size("DEDUP_MAX_RECORDS_PER_TENANT"),
            offline_buffer_max_messages_per_user: r.size("OFFLINE_BUFFER_MAX_MESSAGES_PER_USER"),
            offline_buffer_max_bytes_per_user: r.size("OFFLINE_BUFFER_MAX_BYTES_PER_USER"),
            offline_buffer_max_users_per_tenant: r.size("OFFLINE_BUFFER_MAX_USERS_PER_TENANT"),
            group_offline_buffer_max_users: r.size("GROUP_OFFLINE_BUFFER_MAX_USERS"),
            redis_connection: r.secret("REDIS__CONNECTION"),
            group_route_chunk_size: r.size("GROUP_ROUTE_CHUNK_SIZE"),
            group_members_max_users: r.size("GROUP_MEMBERS_MAX_USERS"),
            local_route_cache_ttl: r.seconds("LOCAL_ROUTE_CACHE_TTL_SECONDS"),
            local_route_cache_size_bytes: r.size("LOCAL_ROUTE_CACHE_SIZE_BYTES"),
            kafka_bootstrap_servers: r.text("KAFKA__BOOTSTRAP_SERVERS"),
            kafka_max_attempts: r.number("KAFKA_MAX_ATTEMPTS"),
            kafka_queue_capacity: r.size("KAFKA_QUEUE_CAPACITY"),
            kafka_max_pending_per_tenant: r.size("KAFKA_MAX_PENDING_PER_TENANT"),
            kafka_queue_max_bytes: r.number("KAFKA_QUEUE_MAX_BYTES"),
            kafka_max_pending_bytes_per_tenant: r.number("KAFKA_MAX_PENDING_BYTES_PER_TENANT"),
            kafka_retry_backoff: r.millis("KAFKA_RETRY_BACKOFF_MS"),
            kafka_dlq_fallback_queue_capacity: r.size("KAFKA_DLQ_FALLBACK_QUEUE_CAPACITY"),
            kafka_dlq_fallback_max_pending_per_tenant: r.size("KAFKA_DLQ_FALLBACK_MAX_PENDING_PER_TENANT"),
            kafka_dlq_fallback_max_attempts: r.number("KAFKA_DLQ_FALLBACK_MAX_ATTEMPTS"),
            kafka_dlq_fallback_retry_backoff: r.millis("KAFKA_DLQ_FALLBACK_RETRY_BACKOFF_MS"),
            kafka_properties: r.properties("KAFKA_PROP"),
            cluster_grpc_token: r.secret("CLUSTER_GRPC_TOKEN"),
            grpc_breaker_failure_threshold: r.number("GRPC_BREAKER_FAILURE_THRESHOLD"),
            grpc_breaker_open: r.millis("GRPC_BREAKER_OPEN_MS"),
            drain_timeout: r.seconds("DRAIN_TIMEOUT_SECONDS"),
            admission_unregister_retry_queue_capacity: r.size("ADMISSION_UNREGISTER_RETRY_QUEUE_CAPACITY"),
            admission_unregister_retry_max_attempts: r.number("ADMISSION_UNREGISTER_RETRY_MAX_ATTEMPTS"),
            admission_unregister_retry_backoff: r.millis("ADMISSION_UNREGISTER_RETRY_BACKOFF_MS"),
            log_format: if r.choice("LOG_FORMAT") == "text" { LogFormat::Text } else { LogFormat::Json },
            log_level: r.level("LOG_LEVEL"),
            traces: traces(r),
            config_file: r.config_file(),
        }
    }

    /// What one value alone cannot show.
    fn check(&self, r: &mut Reader, mode: Mode) {
        if mode == Mode::Gateway && r.explicit("PUBLIC_ENDPOINT").is_none() {
            r.warn(
                "PUBLIC_ENDPOINT",
                format_args!("not set; other nodes cannot reach this one at {}", self.public_endpoint),
            );
        }
        if self.hook_sign_required {
            for (tenant, _) in self.tenants.iter().filter(|(_, settings)| settings.secret.is_none()) {
                r.error(
                    "HOOK_SIGN_REQUIRED",
                    "true",
                    format!("tenant \"{tenant}\" has no entry in TENANT_HOOK_SECRETS"),
                );
            }
        }
        if self.admin_port != 0 && !self.admin_bind_address.is_loopback() && self.admin_token.is_none() {
            let address = self.admin_bind_address.to_string();
            r.error("ADMIN_BIND_ADDRESS", &address, "needs ADMIN_TOKEN: without one only a loopback address is served");
        }
        if self.admin_token.as_ref().is_some_and(|token| token.expose().len() < SHORT_TOKEN) {
            r.warn("ADMIN_TOKEN", format_args!("has less than {SHORT_TOKEN} bytes and can be guessed"));
        }
        let (grpc, tls, admin) = (self.grpc_port, self.tls_port, self.admin_port);
        let ports = [("PORT", self.port), ("GRPC_PORT", grpc), ("TLS_PORT", tls), ("ADMIN_PORT", admin)];
        for (at, (name, port)) in ports.iter().enumerate().filter(|(_, (_, port))| *port != 0) {
            if let Some((other, _)) = ports[..at].iter().find(|(_, other)| other == port) {
                r.error(name, &port.to_string(), format!("is also {other}; leave it 0 or choose another"));
            }
        }
        if self.dedup_mode == DedupMode::Redis && self.redis_connection.is_none() {
            r.warn("DEDUP_MODE", "redis without REDIS__CONNECTION; message ids are kept in memory");
        }
    }
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceConfig {
    /// Absolute URL of the collector.
    pub endpoint: String,
    pub service: String,
    /// 0 to 1.
    pub share: f64,
}

/// Where the admin API of this machine's node is, for the commands that use it.
#[derive(Debug, Clone)]
pub struct AdminClientConfig {
    /// `None`: no port is set.
    pub address: Option<std::net::SocketAddr>,
    pub token: Option<Secret>,
}

impl AdminClientConfig {
    pub fn load(source: &Source) -> Result<(AdminClientConfig, Vec<String>), ConfigErrors> {
        let mut r = Reader::new(source, VARS, &[VARS, HOOK_MOCK_VARS]);
        let mut ip = ip_address(&mut r, "ADMIN_BIND_ADDRESS");
        if ip.is_unspecified() {
            ip = std::net::Ipv4Addr::LOCALHOST.into();
        }
        let port = r.port("ADMIN_PORT");
        let address = (port != 0).then(|| std::net::SocketAddr::new(ip, port));
        let token = r.secret("ADMIN_TOKEN");
        r.finish(AdminClientConfig { address, token })
    }
}

/// What a command needs that only talks to the brokers.
#[derive(Debug, Clone)]
pub struct KafkaClientConfig {
    /// `host:port,host:port`
    pub bootstrap_servers: String,
    pub node_id: String,
    /// Settings of the client library by its own names.
    pub properties: BTreeMap<String, Secret>,
}

impl KafkaClientConfig {
    pub fn load(source: &Source) -> Result<(KafkaClientConfig, Vec<String>), ConfigErrors> {
        let mut r = Reader::new(source, VARS, &[VARS, HOOK_MOCK_VARS]);
        let bootstrap = r.text("KAFKA__BOOTSTRAP_SERVERS");
        if bootstrap.is_none() {
            r.missing("KAFKA__BOOTSTRAP_SERVERS", "is not set");
        }
        let config = KafkaClientConfig {
            bootstrap_servers: bootstrap.unwrap_or_default(),
            node_id: node_id(&mut r),
            properties: r.properties("KAFKA_PROP"),
        };
        r.finish(config)
    }
}

fn ip_address(r: &mut Reader, name: &str) -> IpAddr {
    let text = r.text(name).unwrap_or_default();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(&text);
    bare.parse().unwrap_or_else(|_| {
        r.error(name, &text, "is not an IP address");
        Ipv6Addr::UNSPECIFIED.into()
    })
}

fn system_user(r: &mut Reader) -> String {
    let user = r.text("ADMIN_SYSTEM_USER").unwrap_or_default();
    if let Err(problem) = mics_domain::ids::check_id(&user) {
        r.error("ADMIN_SYSTEM_USER", &user, problem.to_string());
    }
    user
}

fn node_id(r: &mut Reader) -> String {
    let id = r.explicit("NODE_ID").or_else(|| r.host_name()).unwrap_or_else(|| "localhost".to_owned());
    if id.contains('|') {
        r.error("NODE_ID", &id, "must not contain |");
    } else if id.len() > 255 || id.chars().any(char::is_control) {
        r.error("NODE_ID", &id, "must have at most 255 bytes and no control characters");
    } else if id == "live" || id == "known" {
        // Keys of the node registry in Redis have these names.
        r.error("NODE_ID", &id, "is a reserved name");
    }
    id
}

fn public_endpoint(r: &mut Reader, port: u16) -> String {
    let Some(endpoint) = r.explicit("PUBLIC_ENDPOINT") else { return format!("http://localhost:{port}") };
    if endpoint.contains('|') {
        r.error("PUBLIC_ENDPOINT", &endpoint, "must not contain |");
    } else if let Err(problem) = values::check_url(&endpoint) {
        r.error("PUBLIC_ENDPOINT", &endpoint, problem);
    }
    endpoint.trim_end_matches('/').to_owned()
}

fn traces(r: &mut Reader) -> Option<TraceConfig> {
    let text = r.text("OTEL_TRACES_SAMPLER_ARG").unwrap_or_default();
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    if share.is_none() {
        r.error("OTEL_TRACES_SAMPLER_ARG", &text, "is not a number from 0 to 1");
    }
    let endpoint = r.text("OTEL_EXPORTER_OTLP_ENDPOINT")?;
    if let Err(problem) = values::check_url(&endpoint) {
        r.error("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint, problem);
    }
    Some(TraceConfig {
        endpoint,
        service: r.text("OTEL_SERVICE_NAME").unwrap_or_default(),
        share: share.unwrap_or(0.0),
    })
}

fn host_patterns(r: &mut Reader) -> Vec<String> {
    let patterns = r.list("HOOK_URL_ALLOW_LIST");
    for pattern in &patterns {
        if !pattern.chars().all(|c| c.is_ascii_alphanumeric() || "*.-_:[]".contains(c)) {
            r.error("HOOK_URL_ALLOW_LIST", pattern, "is not a host pattern such as *.example.com");
        }
    }
    patterns.into_iter().map(|pattern| pattern.to_ascii_lowercase()).collect()
}

/// Tenants are the keys of TENANT_AUTH_MAP; the other maps add to them.
fn tenants(r: &mut Reader, mode: Mode) -> BTreeMap<String, TenantSettings> {
    let auth = r.map("TENANT_AUTH_MAP");
    let unreadable = r.errors.iter().any(|error| error.name == "TENANTS_FILE");
    if auth.is_empty() && mode == Mode::Gateway && !unreadable {
        r.missing("TENANT_AUTH_MAP", "is required: at least one tenant");
    }
    let known: BTreeSet<String> = auth.keys().cloned().collect();
    let secrets = tenant_map(r, "TENANT_HOOK_SECRETS", &known, "a text", values::as_text);
    let limits = tenant_map(r, "TENANT_HOOK_MAX_CONCURRENCY", &known, "a whole number of 32 bits", values::as_i32);
    let deny = tenant_map(r, "HOOK_DENY_WHEN_DEGRADED", &known, "true or false", values::as_bool);

    let mut tenants = BTreeMap::new();
    for (id, value) in &auth {
        if !is_tenant_id(id) {
            r.error("TENANT_AUTH_MAP", id, "is not a tenant id: 1 to 64 of A-Z a-z 0-9 . _ -");
        }
        let Some(url) = r.entry("TENANT_AUTH_MAP", id, value, "a URL", values::as_text) else { continue };
        if let Err(problem) = values::check_url(&url) {
            r.error("TENANT_AUTH_MAP", &url, format!("of tenant \"{id}\" {problem}"));
        }
        let secret = secrets.get(id).filter(|secret| !secret.is_empty()).map(Secret::new);
        let hook_max_concurrency = limits.get(id).copied().filter(|limit| *limit > 0);
        if limits.contains_key(id) && hook_max_concurrency.is_none() {
            r.warn("TENANT_HOOK_MAX_CONCURRENCY", format_args!("the value of \"{id}\" is not positive; ignored"));
        }
        let deny_when_degraded = deny.get(id).copied().unwrap_or(false);
        let auth_url = url.trim_end_matches('/').to_owned();
        tenants.insert(id.clone(), TenantSettings { auth_url, secret, hook_max_concurrency, deny_when_degraded });
    }
    tenants
}

/// A map keyed by tenant, read as `T`; keys that are no tenant give a warning.
fn tenant_map<T>(
    r: &mut Reader,
    name: &str,
    tenants: &BTreeSet<String>,
    what: &str,
    read: fn(&Value) -> Option<T>,
) -> BTreeMap<String, T> {
    let mut map = BTreeMap::new();
    for (id, value) in r.map(name) {
        if !tenants.contains(&id) {
            r.warn(name, format_args!("{id:?} is not a tenant of TENANT_AUTH_MAP; ignored"));
        }
        if let Some(value) = r.entry(name, &id, &value, what, read) {
            map.insert(id, value);
        }
    }
    map
}

fn is_tenant_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
