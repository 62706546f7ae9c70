//! Events and hook-pull from end to end: a gateway process, a real Kafka broker, a tenant that reads the events and keeps what
//! it is told of, clients of the SDK. Without Java, the jars or Redis, tests say SKIPPED and pass. Waits for conditions, never for a time.

#[path = "live_events/broker.rs"]
mod broker;
#[path = "live_events/chat.rs"]
mod chat;
#[allow(dead_code)]
#[path = "support/client.rs"]
mod client;
mod kafka_support;
#[allow(dead_code)]
#[path = "live_cluster/processes.rs"]
mod processes;
#[path = "live_events/pull.rs"]
mod pull;
mod redis_support;
#[path = "live_events/tenant.rs"]
mod tenant;
#[allow(dead_code)]
#[path = "live_cluster/users.rs"]
mod users;

use std::time::Duration;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);
