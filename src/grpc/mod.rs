//! Node to node: the service other nodes call and the link that calls them. The only folder that knows tonic; it runs on
//! a runtime of its own, so that neither a busy worker thread nor a busy peer holds the other up.

mod link;
mod server;

pub use link::{GrpcLink, LinkSettings};
pub use server::{NodeServer, OfflineAccess, SendFuture, ServerSettings, Sockets};

/// Metadata that carries the cluster's token.
const TOKEN_HEADER: &str = "x-mics-node-token";
