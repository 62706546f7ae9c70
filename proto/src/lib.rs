//! The wire contract: generated protobuf types, the node-to-node service, and what signatures need of the bytes. Nothing
//! else lives here, so that whoever speaks MICS (gateway, SDK, tool) can depend on it without taking the gateway along.

pub mod wire;

pub use prost;

/// The generated code finds its siblings by package path, hence the nesting.
mod generated {
    pub mod message {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/mics.message.v1.rs"));
        }
    }
    pub mod hook {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/mics.hook.v1.rs"));
        }
    }
    pub mod node {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/mics.node.v1.rs"));
        }
    }
}

/// Hook requests and responses, and Kafka events.
pub use generated::hook::v1 as hook;
/// Client <-> gateway frames.
pub use generated::message::v1 as message;
/// Node <-> node service.
pub use generated::node::v1 as node;
