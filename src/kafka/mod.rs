//! The tenants' event topics on Kafka. No other folder may speak Kafka; how an event is written is told from outside.

mod sink;

pub use sink::{KafkaConfig, KafkaError, KafkaSink, SinkCounters, dead_letter_topic, event_topic};
