//! Node to node: the service other nodes call and the link that calls them. The only folder that knows tonic; it runs on
//! a runtime of its own, so that neither a busy worker thread nor a busy peer holds the other up.

mod calls;
mod counts;
mod forwarder;
mod link;
mod peer;
mod report;
mod server;
mod service;
mod told;
mod wire;

pub use counts::LinkCounts;
pub use link::{GrpcLink, LinkSettings};
pub(crate) use server::same_secret;
pub use server::{NodeServer, ServerSettings, Sockets};
pub use service::NextId;

/// Metadata that carries the cluster's token.
const TOKEN_HEADER: &str = "x-mics-node-token";
/// HTTP/2 flow control, both ends: enough that a busy stream does not wait for the far end's permission.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
