//! Hook SDK for MICS: what a tenant's back end needs to answer a gateway's calls and to read its events. It knows the
//! contract and nothing of the gateway's own crates.
#![doc = include_str!("../README.md")]

#[cfg(feature = "actix")]
pub mod actix;
pub mod answer;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "kafka")]
pub mod consumer;
pub mod event;
mod handler;
mod options;
mod replay;
mod seen;
mod service;
pub mod sign;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod store;

pub use handler::HookHandler;
pub use mics_proto;
pub use mics_proto::hook::{
    AuthRequest, AuthResponse, CheckMessageRequest, CheckMessageResponse, EventType, GetGroupMembersRequest,
    GetGroupMembersResponse, GetOfflineMessagesRequest, GetOfflineMessagesResponse, HookMeta, MqEvent,
    TenantRuntimeConfig,
};
pub use mics_proto::message::{ConnectAck, MessageRequest, MessageType};
pub use options::{HookOptions, SecretOf};
pub use seen::{RecentEvents, SeenEvents};
pub use service::{HookOp, HookReply, HookService};
pub use store::OfflineStore;

/// What handlers and stores may fail with. It is logged and never sent to the gateway.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
