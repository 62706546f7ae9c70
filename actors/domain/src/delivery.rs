//! A message on its way to its recipients: one identity for every copy of it, on whichever node. Must not know frames
//! of any wire beyond carrying their bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::trace::TraceParent;

/// Identity of a delivery, the same on every node and in every copy: 64 bits that grow with time and within a node,
/// then 64 bits of the node's start. Deliveries of one sender's connection sort in the order sent.
pub type DeliveryId = u128;

/// What one node hands to another.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub tenant: Arc<str>,
    pub id: DeliveryId,
    /// Ready `MessageRequest` bytes, fields unknown to this version included.
    pub request: Bytes,
    /// The users of this call have other devices, on other nodes, that get it too.
    pub shared: bool,
    pub trace: Option<TraceParent>,
}

/// A frame for one user that is kept until somebody takes it, on its way between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub user: Arc<str>,
    pub id: DeliveryId,
    /// A ready WebSocket frame.
    pub frame: Bytes,
    /// Rest of its life.
    pub ttl_ms: u64,
    /// Empty: for whichever device comes first; else for these devices only.
    pub devices: Vec<Arc<str>>,
}
