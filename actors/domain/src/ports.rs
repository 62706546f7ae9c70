//! The seams to the outside: who is online where, other nodes, the tenant's back end, the event topic.
//!
//! Promises stand on the traits, because every implementation (embedded and real) is held to them by the same
//! contract suite. Futures are local: each worker thread drives its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::Event;
use crate::message::Message;
use crate::policy::HookFailure;
use crate::tenant::{Secret, TenantConfig};

pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Where and how one hook call goes, besides its question.
#[derive(Debug, Clone)]
pub struct HookTarget {
    pub tenant: Arc<str>,
    /// Base URL without the operation's path.
    pub base_url: String,
    pub secret: Secret,
    pub trace_id: String,
}

/// Answer of /auth when the tenant said yes.
#[derive(Debug, Clone)]
pub struct Identity {
    pub user: String,
    pub config: TenantConfig,
}

/// Answer of /auth.
#[derive(Debug, Clone)]
pub enum AuthAnswer {
    Accepted(Box<Identity>),
    /// With the hook's reason, possibly empty.
    Refused(String),
}

/// Answer of /check-message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckAnswer {
    pub allow: bool,
    pub reason: String,
}

/// One page of /get-offline-messages.
#[derive(Debug, Clone, Default)]
pub struct OfflinePage {
    pub ok: bool,
    /// Ready `MessageRequest` bytes, delivered unmodified.
    pub messages: Vec<Bytes>,
    pub next_cursor: String,
    pub has_more: bool,
}

/// The tenant's back end.
///
/// Each call is one attempt: no retry, no degrade, no permit, no breaker (the caller owns those), and ends within the
/// hook budget of 150 ms, after which it reports [`HookFailure::Timeout`]. Dropping the future cancels the call.
/// A redirect is a failure; a response beyond the cap is [`HookFailure::Decode`].
pub trait Hooks: Send + Sync {
    fn auth<'a>(
        &'a self,
        to: &'a HookTarget,
        token: &'a str,
        device: &'a str,
    ) -> LocalFuture<'a, Result<AuthAnswer, HookFailure>>;

    fn check_message<'a>(
        &'a self,
        to: &'a HookTarget,
        message: &'a Message,
    ) -> LocalFuture<'a, Result<CheckAnswer, HookFailure>>;

    fn group_members<'a>(
        &'a self,
        to: &'a HookTarget,
        group: &'a str,
    ) -> LocalFuture<'a, Result<Vec<String>, HookFailure>>;

    fn offline_messages<'a>(
        &'a self,
        to: &'a HookTarget,
        user: &'a str,
        device: &'a str,
        max_messages: u32,
        cursor: &'a str,
    ) -> LocalFuture<'a, Result<OfflinePage, HookFailure>>;
}

/// A connection as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub device: Arc<str>,
    pub node: Arc<str>,
    /// Where that node's node-to-node service listens, e.g. `http://10.0.0.7:8080`.
    pub endpoint: Arc<str>,
    pub connection: u128,
    pub online_at_ms: i64,
}

/// Limits of one registration; 0 = unlimited.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectionLimits {
    pub tenant: u32,
    pub user: u32,
    pub lease_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    New,
    /// The device was online before; limits were not checked.
    Replaced(Box<Route>),
    TenantFull {
        current: u32,
    },
    UserFull {
        current: u32,
    },
}

/// The directory could not be asked. The caller goes on with what this node knows itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("directory unavailable: {0}")]
pub struct DirectoryDown(pub String);

/// Who is online where, cluster-wide. Holds no business data.
///
/// `register` is atomic: of two concurrent registrations of one device the later wins and learns of the earlier, and a
/// limit is never exceeded by more than the registrations whose leases expired. `unregister` and `renew` act only
/// while the stored connection is the given one (fencing). Leases that are not renewed vanish.
pub trait Directory: Send + Sync {
    fn register<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        route: &'a Route,
        limits: ConnectionLimits,
    ) -> LocalFuture<'a, Result<Registered, DirectoryDown>>;

    fn unregister<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        device: &'a str,
        connection: u128,
    ) -> LocalFuture<'a, Result<(), DirectoryDown>>;

    /// True when the lease was still this connection's.
    fn renew<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        device: &'a str,
        connection: u128,
        lease_ms: u64,
    ) -> LocalFuture<'a, Result<bool, DirectoryDown>>;

    /// Live routes of each user, in the order asked; an unknown user has none.
    fn routes<'a>(
        &'a self,
        tenant: &'a str,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<Vec<Route>>, DirectoryDown>>;

    /// True when no other node can exist: lookups can be skipped.
    fn standalone(&self) -> bool {
        false
    }
}

/// How a peer answered a forward.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("peer unavailable: {0}")]
    Unavailable(String),
    #[error("peer did not answer in time")]
    Deadline,
    #[error("peer refused: {0}")]
    Refused(String),
}

/// Hands a message to another node.
///
/// `forward` answers, per user in the order given, how many live sessions took the message. It is safe to repeat.
pub trait PeerLink: Send + Sync {
    fn forward<'a>(
        &'a self,
        endpoint: &'a str,
        message: &'a Message,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<u32>, LinkError>>;
}

/// Why an event was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventRefused {
    /// No broker is configured.
    Off,
    TenantQuota,
    QueueFull,
}

/// The tenants' event topics.
///
/// `offer` never blocks. `Ok` means the event is queued for publishing and will be published, dead-lettered or counted
/// as lost; order per (tenant, user) is the order of the offers.
pub trait EventSink: Send + Sync {
    fn offer(&self, event: Event) -> Result<(), EventRefused>;

    /// The latest events, newest last, for a debug view; empty where none are kept.
    fn recent(&self) -> Vec<Event> {
        Vec::new()
    }
}
