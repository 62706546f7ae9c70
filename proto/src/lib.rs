//! The wire contract: generated protobuf types and the node-to-node service. Nothing else lives here, so that
//! whoever speaks MICS (gateway, SDK, tool) can depend on it without taking the gateway along.

pub use prost;

/// Client <-> gateway frames.
pub mod message {
    include!(concat!(env!("OUT_DIR"), "/mics.message.v1.rs"));
}

/// Hook requests and responses, and Kafka events.
pub mod hook {
    include!(concat!(env!("OUT_DIR"), "/mics.hook.v1.rs"));
}

/// Node <-> node service.
pub mod node {
    include!(concat!(env!("OUT_DIR"), "/mics.node.v1.rs"));
}
