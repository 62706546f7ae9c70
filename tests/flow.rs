//! End-to-end tests of one gateway node over real sockets. Must not reach beyond loopback, and must wait for conditions,
//! never for time.

/// Clients come over plain TCP here; `flow_tls.rs` has them come over TLS.
const SECURED: bool = false;

#[path = "flow/cluster.rs"]
mod cluster;
#[path = "flow/connections.rs"]
mod connections;
#[path = "flow/faults.rs"]
mod faults;
#[path = "flow/frames.rs"]
mod frames;
#[path = "flow/groups.rs"]
mod groups;
#[path = "flow/hooks.rs"]
mod hooks;
#[path = "flow/messages.rs"]
mod messages;
#[path = "flow/offline.rs"]
mod offline;
#[path = "flow/order.rs"]
mod order;
#[path = "flow/repetitions.rs"]
mod repetitions;
mod support;
#[path = "flow/vectors.rs"]
mod vectors;
