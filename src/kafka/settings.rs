//! How the client library is set up: names of topics, what is fixed, what an operator may add. Must not open connections.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;

use super::quota::Limits;
use crate::config::Secret;

/// Pause between attempts to reach a broker, at most.
const RECONNECT_MS: &str = "2000";
/// Room for what the library adds to each event.
const LIBRARY_KIB: u64 = 64 * 1024;
/// What the sink's promises rest on; nobody may set it from outside.
const OURS: &[&str] = &[
    "acks",
    "bootstrap.servers",
    "client.id",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "group.id",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "metadata.broker.list",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "request.required.acks",
    "transactional.id",
];

/// `im-mics-{tenant}-event`
pub fn event_topic(tenant: &str) -> String {
    format!("im-mics-{tenant}-event")
}

/// `im-mics-{tenant}-event-dlq`
pub fn dead_letter_topic(tenant: &str) -> String {
    format!("im-mics-{tenant}-event-dlq")
}

/// How the brokers are reached.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `host:port,host:port`
    pub bootstrap: String,
    /// Becomes the client id.
    pub client_id: String,
    /// Settings of librdkafka by its names (`security.protocol`, `sasl.password`); values are never shown.
    pub properties: BTreeMap<String, Secret>,
}

/// Tries, and the base of the pauses between them.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// At least 1.
    pub tries: u32,
    pub backoff: Duration,
}

impl Retries {
    const LONGEST: Duration = Duration::from_secs(5);

    /// The pause after the `n`th failed try, counted from 1: the base doubled each time, at most 5 s.
    pub fn pause(&self, n: u32) -> Duration {
        let factor = 1 << n.saturating_sub(1).min(10);
        (self.backoff * factor).min(Self::LONGEST)
    }
}

#[derive(Debug, Clone)]
pub struct KafkaConfig {
    pub connection: Connection,
    pub limits: Limits,
    /// On the event topic.
    pub retries: Retries,
    /// Of the second queue, on the dead-letter topic.
    pub second_retries: Retries,
    /// How long one try may take; the library repeats inside it.
    pub try_timeout: Duration,
    /// Largest event handed to a broker, bytes; brokers have limits of their own.
    pub max_event_bytes: usize,
}

/// Why the client library can't be set up; tells no values, they may be secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaMistake(pub String);

impl fmt::Display for KafkaMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KafkaMistake {}

/// An error of the library without the values that it quotes.
pub fn explain(error: &KafkaError) -> KafkaMistake {
    KafkaMistake(match error {
        KafkaError::ClientConfig(_, problem, name, value) => {
            let problem = if value.is_empty() { problem.clone() } else { problem.replace(value.as_str(), "***") };
            format!("setting {name}: {problem}")
        }
        other => other.to_string(),
    })
}

impl Connection {
    /// What every client of the brokers has; the operator's settings included.
    pub fn client(&self) -> Result<ClientConfig, KafkaMistake> {
        let mut client = ClientConfig::new();
        // Set only here, so that an operator may choose another.
        client.set("reconnect.backoff.max.ms", RECONNECT_MS);
        for (name, value) in &self.properties {
            if OURS.contains(&name.as_str()) {
                return Err(KafkaMistake(format!("setting {name} is MICS's own and can't be set")));
            }
            client.set(name, value.expose());
        }
        client.set("bootstrap.servers", &self.bootstrap).set("client.id", &self.client_id);
        Ok(client)
    }
}

impl KafkaConfig {
    /// The settings of a producer.
    pub(super) fn producer(&self) -> Result<ClientConfig, KafkaMistake> {
        // Whatever the queues hold must fit, so that the library is never the one that refuses.
        let messages = (self.limits.events + self.limits.second).clamp(1, 10_000_000);
        let kib = (self.limits.bytes / 1024 * 2 + LIBRARY_KIB).clamp(1, 2_097_151);
        let mut client = self.connection.client()?;
        for (name, value) in [
            ("message.timeout.ms", self.try_timeout.as_millis().clamp(1, 2_147_483_647).to_string()),
            ("message.max.bytes", self.max_event_bytes.clamp(1_000_000, 1_000_000_000).to_string()),
        ] {
            if client.get(name).is_none() {
                client.set(name, value);
            }
        }
        client
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.messages", messages.to_string())
            .set("queue.buffering.max.kbytes", kib.to_string());
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_seconds() {
        let retries = Retries { tries: 3, backoff: Duration::from_millis(50) };
        let pauses = [1, 2, 3, 7, 8, 11, 12, u32::MAX].map(|n| retries.pause(n).as_millis());
        assert_eq!(pauses, [50, 100, 200, 3_200, 5_000, 5_000, 5_000, 5_000]);
        let none = Retries { tries: 3, backoff: Duration::ZERO };
        assert_eq!(none.pause(9), Duration::ZERO);
        let short = Retries { tries: 20, backoff: Duration::from_millis(1) };
        assert_eq!(
            (short.pause(11).as_millis(), short.pause(20).as_millis()),
            (1_024, 1_024),
            "the exponent ends at 10"
        );
    }

    fn connection(properties: &[(&str, &str)]) -> Connection {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        Connection { bootstrap: "b:1".into(), client_id: "node-1".into(), properties }
    }

    #[test]
    fn what_the_promises_rest_on_cannot_be_set() {
        for name in OURS {
            let mistake = connection(&[(name, "x")]).client().unwrap_err();
            assert!(mistake.0.contains(name) && mistake.0.contains("MICS's own"), "{mistake}");
        }
        assert_eq!(connection(&[("linger.ms", "1")]).client().unwrap().get("linger.ms"), Some("1"));
    }

    #[test]
    fn no_secret_is_shown() {
        let connection = connection(&[("sasl.password", "hunter2"), ("security.protocol", "hunter2")]);
        assert!(!format!("{connection:?}").contains("hunter2"));
        let error = connection.client().unwrap().create::<rdkafka::producer::BaseProducer>().err().unwrap();
        let mistake = explain(&error);
        assert!(!mistake.0.contains("hunter2") && mistake.0.contains("security.protocol"), "{mistake}");
    }

    #[test]
    fn the_library_is_built_with_tls_and_passwords() {
        let features = ClientConfig::new().create_native_config().unwrap().get("builtin.features").unwrap();
        let has = |name: &str| features.split(',').any(|feature| feature == name);
        for name in ["ssl", "sasl_plain", "sasl_scram", "gzip", "snappy", "lz4", "zstd"] {
            assert!(has(name), "docs/ops/events.md promises {name}: {features}");
        }
        for name in ["sasl_gssapi", "oidc"] {
            assert!(!has(name), "docs/ops/events.md says that {name} is not there: {features}");
        }
    }
}
