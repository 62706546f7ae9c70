//! The one table of every variable: name, aliases, type, default, range, unit, effect. Parsing, clamping and `docs/config.md` all read
//! it, so they cannot disagree. It must not hold behaviour beyond names: what a value means is decided where it is used.

/// One variable that an operator may set.
#[derive(Debug, Clone, Copy)]
pub struct Var {
    /// Canonical name, upper case; names are compared case-insensitively and `:` counts as `__`.
    pub name: &'static str,
    /// Other accepted spellings, tried in order when the canonical name is not set. For maps: the prefix of `<alias>__<key>` entries.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    /// As an operator would write it; empty = unset.
    pub default: &'static str,
    /// `ms`, `s`, `bytes` or what is counted; empty when the value has no unit.
    pub unit: &'static str,
    pub effect: &'static str,
    pub area: Area,
}

impl Var {
    /// The value must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Properties | Kind::Map { secret: true, .. })
    }

    /// Is `name` a spelling of this variable, or for maps of one of its entries?
    pub fn is_named(&self, name: &str) -> bool {
        let name = normal(name);
        let is_map = matches!(self.kind, Kind::Map { .. });
        let is_prefix = matches!(self.kind, Kind::Properties);
        std::iter::once(&self.name).chain(self.aliases).any(|own| {
            let own = normal(own);
            name == own
                || is_map && name.strip_prefix(&own).is_some_and(|rest| rest.len() > 2 && rest.starts_with("__"))
                || is_prefix && name.strip_prefix(&own).is_some_and(|rest| rest.len() > 1 && rest.starts_with('_'))
        })
    }
}

/// Upper case, `:` written as `__`: two names are the same variable when this is equal.
pub(super) fn normal(name: &str) -> String {
    name.replace(':', "__").to_ascii_uppercase()
}

/// How a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Out of range: moved to the nearest bound, with a warning.
    Int {
        min: i64,
        max: i64,
    },
    /// Out of range: an error, because another value than the one asked for would be of no use (ports).
    Port,
    /// Zero and negative values mean the default, with a warning.
    PositiveOrDefault,
    /// Zero and negative values are ignored (the variable stays unset), with a warning.
    OptionalPositive,
    /// Negative values are ignored (the variable stays unset), with a warning.
    OptionalNonNegative,
    Bool,
    /// Unset is told apart from false.
    OptionalBool,
    Text,
    Secret,
    /// Absolute http or https URL.
    Url,
    /// One of these words, case-insensitive. `strict`: another word is an error; otherwise the default, with a warning.
    Choice {
        words: &'static [&'static str],
        strict: bool,
    },
    /// `info`, or `info,target=debug`; .NET level names are accepted.
    Level,
    /// Comma separated.
    List,
    /// JSON object; the text says what its values are.
    Map {
        of: &'static str,
        secret: bool,
    },
    /// Any number of texts named `<name>_<PART>_<PART>`, which stands for `part.part`.
    Properties,
}

/// Chapter of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    Node,
    Tenants,
    Hooks,
    Sessions,
    Offline,
    Routing,
    Events,
    Cluster,
    Logs,
    Mock,
}

impl Area {
    /// Heading, in the order of the document.
    pub const GATEWAY: &'static [(Area, &'static str)] = &[
        (Area::Node, "Node"),
        (Area::Tenants, "Tenants"),
        (Area::Hooks, "Hooks"),
        (Area::Sessions, "Sessions and messages"),
        (Area::Offline, "Offline buffer"),
        (Area::Routing, "Groups, routes and Redis"),
        (Area::Events, "Events (Kafka)"),
        (Area::Cluster, "Cluster and shutdown"),
        (Area::Logs, "Logs and traces"),
    ];
}

const fn var(
    area: Area,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    unit: &'static str,
    effect: &'static str,
) -> Var {
    Var { name, aliases: &[], kind, default, unit, effect, area }
}

const fn alias(var: Var, aliases: &'static [&'static str]) -> Var {
    Var { aliases, ..var }
}

const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max }
}

const MILLION: i64 = 1_000_000;
const KIB: i64 = 1024;
const MIB: i64 = 1024 * KIB;
const GIB: i64 = 1024 * MIB;

/// Variables of `mics gateway` and `mics dev`.
#[rustfmt::skip]
pub const VARS: &[Var] = &[
    // Node
    var(Area::Node, "PORT", Kind::Port, "8080", "", "The listening port for HTTP, WebSocket and, unless `GRPC_PORT` is set, node gRPC. 0 = any free port."),
    var(Area::Node, "BIND_ADDRESS", Kind::Text, "[::]", "", "IP address to listen on; `[::]` = all interfaces, dual stack."),
    var(Area::Node, "GRPC_PORT", Kind::Port, "0", "", "Port of its own for node gRPC; 0 = share `PORT`."),
    var(Area::Node, "TLS_PORT", Kind::Port, "0", "", "Port of its own for clients that come with TLS 1.2 or 1.3 (`wss://`): what `PORT` serves, without node gRPC and metrics; 0 = off. Needs `TLS_CERT_FILE` and `TLS_KEY_FILE`. See [ops/security.md](ops/security.md#tls)."),
    var(Area::Node, "TLS_CERT_FILE", Kind::Text, "", "", "Path of a PEM file: the certificate of `TLS_PORT`, then those of the authorities between it and the root. Read again as `TENANTS_FILE` is, and shown to who connects from then on."),
    var(Area::Node, "TLS_KEY_FILE", Kind::Text, "", "", "Path of a PEM file: the certificate's private key (PKCS#8, PKCS#1 or SEC1, without a password). Read again with it."),
    var(Area::Node, "ADMIN_PORT", Kind::Port, "0", "", "Port of its own for the operator's endpoints and the admin API ([ops/admin.md](ops/admin.md)); 0 = off."),
    var(Area::Node, "ADMIN_BIND_ADDRESS", Kind::Text, "127.0.0.1", "", "IP address of `ADMIN_PORT`. Any but a loopback address needs `ADMIN_TOKEN`."),
    var(Area::Node, "ADMIN_TOKEN", Kind::Secret, "", "", "Token that the admin API demands as `Authorization: Bearer`; unset = open to whoever reaches the loopback. Secret."),
    var(Area::Node, "ADMIN_SYSTEM_USER", Kind::Text, "system", "", "User id that messages published over the admin API come from, in every tenant."),
    var(Area::Node, "NODE_ID", Kind::Text, "host name", "", "Name of this node. Unique in the cluster; must not contain `|`."),
    var(Area::Node, "PUBLIC_ENDPOINT", Kind::Url, "http://localhost:{PORT}", "", "Where other nodes reach the gRPC of this node; must not contain `|`. The default follows `GRPC_PORT` when that is set."),
    var(Area::Node, "WORKERS", int(0, 1024), "0", "threads", "Threads that serve connections; 0 = one per core."),
    var(Area::Node, "MAX_CONNECTIONS", int(0, 100 * MILLION), "0", "sockets", "Most open sockets on this node; 0 = derived from the limit of file descriptors."),
    var(Area::Node, "MAX_PENDING_HANDSHAKES", int(1, MILLION), "4096", "sockets", "Most connections still in their handshake or /auth; more are refused."),
    // Tenants
    var(Area::Tenants, "TENANTS_FILE", Kind::Text, "", "", "Path of a TOML or JSON file with the four maps of this chapter, and nothing else. When set, tenants come from it alone. Read again when it changes, on SIGHUP and by `mics admin reload`. See [ops/admin.md](ops/admin.md#tenants-without-a-restart)."),
    alias(var(Area::Tenants, "TENANT_AUTH_MAP", Kind::Map { of: "URL", secret: false }, "", "", "Tenant -> base URL of its /auth hook. Required for `gateway`. Tenant ids: 1 to 64 of `A-Z a-z 0-9 . _ -`."), &["Tenants__AuthMap"]),
    alias(var(Area::Tenants, "TENANT_HOOK_SECRETS", Kind::Map { of: "string", secret: true }, "", "", "Tenant -> key that signs /auth requests. Secret."), &["Tenants__HookSecrets"]),
    alias(var(Area::Tenants, "TENANT_HOOK_MAX_CONCURRENCY", Kind::Map { of: "int", secret: false }, "", "requests", "Tenant -> its own `HOOK_MAX_CONCURRENCY`. Values of 0 and less are ignored."), &["Tenants__HookMaxConcurrency"]),
    var(Area::Tenants, "HOOK_DENY_WHEN_DEGRADED", Kind::Map { of: "bool", secret: false }, "{}", "", "Tenant -> true: refuse messages that its hook could not check. Otherwise they pass (the contract's default)."),
    // Hooks
    alias(var(Area::Hooks, "HOOK_SIGN_REQUIRED", Kind::Bool, "false", "", "Refuse to call hooks unsigned. Every tenant then needs an entry in `TENANT_HOOK_SECRETS`."), &["Hook__SignRequired"]),
    var(Area::Hooks, "HOOK_MAX_CONCURRENCY", Kind::PositiveOrDefault, "32", "requests", "Most requests in flight per tenant and operation."),
    var(Area::Hooks, "HOOK_QUEUE_TIMEOUT_MS", int(0, 10_000), "10", "ms", "How long a request waits for a permit; 0 = does not wait."),
    var(Area::Hooks, "HOOK_BREAKER_FAILURE_THRESHOLD", int(1, 100), "5", "failures", "Failures in a row that open the circuit of a tenant's operation."),
    var(Area::Hooks, "HOOK_BREAKER_OPEN_MS", int(0, 60_000), "5000", "ms", "How long the circuit stays open before one probe; 0 = a probe at once."),
    var(Area::Hooks, "HOOK_URL_ALLOW_LIST", Kind::List, "", "", "Host patterns (`*` = any characters) that a tenant's hook URL may name; empty = any."),
    var(Area::Hooks, "HOOK_MAX_RESPONSE_BYTES", int(KIB, GIB), "8388608", "bytes", "Longest hook answer read; a longer one is a failed request."),
    // Sessions
    var(Area::Sessions, "WS_KEEPALIVE_INTERVAL_SECONDS", int(0, 600), "30", "s", "Interval of unsolicited WebSocket pongs from the gateway; 0 = off."),
    var(Area::Sessions, "MAX_MESSAGE_BYTES", int(0, 64 * MIB), "1048576", "bytes", "Longest message body; 0 = no limit."),
    var(Area::Sessions, "SESSION_OUTBOX_MAX_BYTES", int(64 * KIB, 256 * MIB), "4194304", "bytes", "Most bytes waiting for one client; more close it with 4408. A single message always fits."),
    var(Area::Sessions, "SESSION_PIPELINE_WINDOW", int(1, 256), "16", "messages", "Most messages of one client being checked at a time; when full its socket is not read."),
    var(Area::Sessions, "DEDUP_MODE", Kind::Choice { words: &["memory", "redis"], strict: false }, "memory", "", "Where messages already answered SENT are known: `memory` on the node that sent them, `redis` (two hashes for a minute) on all nodes; another word means `memory`."),
    var(Area::Sessions, "DEDUP_MAX_RECORDS_PER_TENANT", int(1, 100 * MILLION), "500000", "messages", "Most message ids remembered per tenant; the oldest go first."),
    // Offline
    var(Area::Offline, "OFFLINE_BUFFER_MAX_MESSAGES_PER_USER", int(0, MILLION), "128", "messages", "Ring size per user, the oldest go first; 0 = off."),
    var(Area::Offline, "OFFLINE_BUFFER_MAX_BYTES_PER_USER", int(0, 256 * MIB), "1048576", "bytes", "Ring size per user; 0 = off."),
    var(Area::Offline, "OFFLINE_BUFFER_MAX_USERS_PER_TENANT", int(0, MILLION), "50000", "users", "Users with buffered messages per tenant; 0 = off."),
    var(Area::Offline, "GROUP_OFFLINE_BUFFER_MAX_USERS", int(0, MILLION), "1024", "users", "Offline members buffered per group message; 0 = no buffering for groups."),
    // Routing
    alias(var(Area::Routing, "REDIS__CONNECTION", Kind::Secret, "", "", "Redis connection string (`host:port,password=...,ssl=true`). Unset: the node stands alone, who is online is kept in memory. Secret."), &["REDIS_CONNECTION"]),
    var(Area::Routing, "GROUP_ROUTE_CHUNK_SIZE", int(1, 4096), "256", "users", "Members looked up at a time."),
    var(Area::Routing, "GROUP_MEMBERS_MAX_USERS", int(1, 5 * MILLION), "200000", "users", "Most members of a group; a message to a larger one fails with `group too large`."),
    var(Area::Routing, "LOCAL_ROUTE_CACHE_TTL_SECONDS", int(0, 60), "5", "s", "How long a route is believed without asking; 0 = off."),
    var(Area::Routing, "LOCAL_ROUTE_CACHE_SIZE_BYTES", int(0, GIB), "104857600", "bytes", "Size of the route cache, 256 bytes per device; 0 = off."),
    // Events
    alias(var(Area::Events, "KAFKA__BOOTSTRAP_SERVERS", Kind::Text, "", "", "Brokers, comma separated; empty = no events are published."), &["KAFKA__BOOTSTRAPSERVERS", "KAFKA_BOOTSTRAP_SERVERS"]),
    var(Area::Events, "KAFKA_MAX_ATTEMPTS", int(1, 10), "3", "attempts", "Attempts per event before it becomes a dead letter; one lasts 10 s at most (`KAFKA_PROP_MESSAGE_TIMEOUT_MS`)."),
    var(Area::Events, "KAFKA_QUEUE_CAPACITY", int(1, MILLION), "50000", "events", "Most events waiting on this node."),
    var(Area::Events, "KAFKA_MAX_PENDING_PER_TENANT", int(1, MILLION), "10000", "events", "Most events waiting per tenant."),
    var(Area::Events, "KAFKA_QUEUE_MAX_BYTES", int(MIB, 64 * GIB), "268435456", "bytes", "Most bytes of events waiting on this node, kept dead letters included. A single event always fits."),
    var(Area::Events, "KAFKA_MAX_PENDING_BYTES_PER_TENANT", int(MIB, 64 * GIB), "67108864", "bytes", "The same, per tenant."),
    var(Area::Events, "KAFKA_RETRY_BACKOFF_MS", int(0, 10_000), "50", "ms", "Pause before the second attempt; doubled each time, 5 s at most."),
    var(Area::Events, "KAFKA_IDLE_DELAY_MS", int(0, 1000), "5", "ms", "Accepted for compatibility; has no effect."),
    var(Area::Events, "KAFKA_DLQ_FALLBACK_QUEUE_CAPACITY", int(0, MILLION), "10000", "events", "Most dead letters kept while their topic refuses them; 0 = off."),
    var(Area::Events, "KAFKA_DLQ_FALLBACK_MAX_PENDING_PER_TENANT", int(1, MILLION), "2000", "events", "The same, per tenant."),
    var(Area::Events, "KAFKA_DLQ_FALLBACK_MAX_ATTEMPTS", int(1, 10_000), "20", "attempts", "Attempts per kept dead letter before it is dropped."),
    var(Area::Events, "KAFKA_DLQ_FALLBACK_RETRY_BACKOFF_MS", int(0, 10_000), "200", "ms", "Pause before the second attempt of a kept dead letter; doubled each time, 5 s at most."),
    var(Area::Events, "KAFKA_PROP", Kind::Properties, "", "", "Settings of librdkafka for all brokers: `KAFKA_PROP_SASL_PASSWORD` sets `sasl.password`. What order and safety rest on (`acks`, `enable.idempotence`, ...) is refused. Values are secret. See [ops/events.md](ops/events.md)."),
    // Cluster
    var(Area::Cluster, "CLUSTER_GRPC_TOKEN", Kind::Secret, "", "", "Shared token that node gRPC demands; unset = open. Secret."),
    var(Area::Cluster, "GRPC_BREAKER_FAILURE_THRESHOLD", int(1, 100), "5", "failures", "Failures in a row that open the circuit to a peer node."),
    var(Area::Cluster, "GRPC_BREAKER_OPEN_MS", int(0, 60_000), "5000", "ms", "How long the circuit to a peer stays open before one probe."),
    var(Area::Cluster, "DRAIN_TIMEOUT_SECONDS", int(0, 600), "10", "s", "Time for an orderly stop, from the signal to the end of the process. A quarter of it, 5 s at most, is kept for the last events and traces. 0 = everything is closed at once, events that wait are lost."),
    var(Area::Cluster, "ADMISSION_UNREGISTER_RETRY_QUEUE_CAPACITY", int(1, MILLION), "50000", "sessions", "Most sessions whose removal from Redis waits for another attempt."),
    var(Area::Cluster, "ADMISSION_UNREGISTER_RETRY_MAX_ATTEMPTS", int(1, 10), "3", "attempts", "Attempts per removal."),
    var(Area::Cluster, "ADMISSION_UNREGISTER_RETRY_BACKOFF_MS", int(0, 10_000), "50", "ms", "Pause before another attempt."),
    // Logs
    var(Area::Logs, "LOG_FORMAT", Kind::Choice { words: &["json", "text"], strict: true }, "json", "", "`json`: one object per line; `text`: for people."),
    alias(var(Area::Logs, "LOG_LEVEL", Kind::Level, "info", "", "`trace`, `debug`, `info`, `warn`, `error`, `off`, or a list such as `info,mics::hooks=debug`. .NET names (`Information`, ...) are accepted."), &["Logging__LogLevel__Default"]),
    var(Area::Logs, "OTEL_EXPORTER_OTLP_ENDPOINT", Kind::Url, "", "", "Collector of traces, OTLP over gRPC, e.g. `http://localhost:4317`; unset = nothing is traced."),
    var(Area::Logs, "OTEL_TRACES_SAMPLER_ARG", Kind::Text, "0.01", "", "Share of messages and connects that are traced, 0 to 1, else an error."),
    var(Area::Logs, "OTEL_SERVICE_NAME", Kind::Text, "mics-gateway", "", "How traces name this service."),
];

/// Variables of `mics hookmock`.
#[rustfmt::skip]
pub const HOOK_MOCK_VARS: &[Var] = &[
    var(Area::Mock, "PORT", Kind::Port, "8081", "", "The listening port; 0 = any free port."),
    var(Area::Mock, "HOOK_TENANT_SECRETS", Kind::Map { of: "string", secret: true }, r#"{"t1":"dev-secret-t1"}"#, "", "Tenant -> secret; other tenants are unknown. Secret."),
    var(Area::Mock, "HOOK_BASE_URL", Kind::Url, "http://localhost:{PORT}", "", "Answered as `config.hook_base_url`."),
    var(Area::Mock, "HOOK_GROUP_MEMBERS", Kind::Map { of: "array of string", secret: false }, r#"{"group-1":["u1","u2","u3"]}"#, "", "Group -> user ids."),
    var(Area::Mock, "OFFLINE_USE_HOOK_PULL", Kind::Bool, "false", "", "Answered as `config.offline_use_hook_pull`."),
    var(Area::Mock, "HOOK_TENANT_POLICIES", Kind::Map { of: "object", secret: false }, "", "", "Tenant -> `{hookMaxConcurrency, hookQueueTimeoutMs, hookBreakerFailureThreshold, hookBreakerOpenMs, hookSignRequired, groupPageSize, groupCacheTtlSeconds}`, all optional."),
    var(Area::Mock, "HOOK_MAX_CONCURRENCY", Kind::OptionalPositive, "", "requests", "Answered for tenants without a policy of their own, when set."),
    var(Area::Mock, "HOOK_QUEUE_TIMEOUT_MS", Kind::OptionalNonNegative, "", "ms", "The same."),
    var(Area::Mock, "HOOK_BREAKER_FAILURE_THRESHOLD", Kind::OptionalPositive, "", "failures", "The same."),
    var(Area::Mock, "HOOK_BREAKER_OPEN_MS", Kind::OptionalNonNegative, "", "ms", "The same."),
    var(Area::Mock, "HOOK_SIGN_REQUIRED", Kind::OptionalBool, "", "", "The same; the mock then also demands signatures."),
];

/// Names about the configuration itself: (name, effect).
pub const FILE_VAR: (&str, &str) = (
    "MICS_CONFIG_FILE",
    "Path of an optional TOML file with the same names (`PORT = 8080`); maps may be tables. The environment wins.",
);
