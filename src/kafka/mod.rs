//! The tenants' event topics on Kafka. No other folder may publish to Kafka; how an event is written is told from outside.
//!
//! An offer takes room ([`quota`]) and leaves the event in an inbox. One thread ([`pump`]) moves events through lanes, which
//! decide what is sent when ([`lanes`]), to librdkafka ([`client`]), and its reports back. Beside that: dead letters and
//! sending them again ([`letters`]).

mod client;
mod done;
mod lanes;
mod letters;
mod pump;
mod quota;
mod settings;
mod sink;
mod tally;

pub use letters::{Choice, Fate, Letter, LetterError, Letters, Replay};
pub use quota::Limits;
pub use settings::{Connection, KafkaConfig, KafkaMistake, Retries, dead_letter_topic, event_topic};
pub use sink::{Encode, KafkaSink};
