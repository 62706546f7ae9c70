//! What depends on the socket, once more: the same end-to-end tests with clients that come over TLS.

/// Clients come over TLS.
const SECURED: bool = true;

#[path = "flow/connections.rs"]
mod connections;
#[path = "flow/faults.rs"]
mod faults;
#[path = "flow/frames.rs"]
mod frames;
#[path = "flow/messages.rs"]
mod messages;
#[path = "flow/offline.rs"]
mod offline;
#[path = "flow/order.rs"]
mod order;
#[allow(dead_code, unused_imports)]
mod support;
