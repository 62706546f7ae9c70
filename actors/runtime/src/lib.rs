//! The runtime of MICS: the flow of a message, the actors that schedule it, and the in-memory ports.
//!
//! What must never be here: Redis, Kafka, HTTP, tonic, the environment. Rules are in `mics-domain`; the outside world is
//! reached through its port traits only. Start reading at [`flow`].

pub mod backlog;
pub mod contract;
pub mod encode;
pub mod fanout;
pub mod flow;
pub mod frame;
pub mod gate;
pub mod hub;
pub mod keep;
pub mod link;
pub mod mailbox;
pub mod members;
pub mod metrics;
pub mod node;
pub mod offline;
pub mod outbox;
pub mod ports;
pub mod publish;
pub mod quiet;
pub mod report;
pub mod roster;
pub mod router;
pub mod sender;
pub mod session;
pub mod settings;
pub mod tenant;
pub mod wire;
