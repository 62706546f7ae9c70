//! The seams to the outside: who is online where, other nodes, the tenant's back end, the event topic.
//!
//! Promises stand on the traits, because every implementation (embedded and real) is held to them by the same
//! contract suite. Futures are local: each worker thread drives its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::{Delivery, DeliveryId, Kept};
use crate::event::Event;
use crate::message::Message;
use crate::offline::Holder;
use crate::policy::HookFailure;
use crate::report::NodeReport;
use crate::tenant::{Secret, TenantConfig};
use crate::trace::TraceParent;

pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Where and how one hook call goes, besides its question.
#[derive(Debug, Clone)]
pub struct HookTarget {
    pub tenant: Arc<str>,
    /// Base URL without the operation's path.
    pub base_url: String,
    pub secret: Secret,
    pub trace_id: String,
    /// Goes along as `traceparent`.
    pub trace: Option<TraceParent>,
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

/// Question of /get-group-members. The default of each field is not written, so that a tenant who asked for nothing gets
/// the bytes it always got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MembersQuestion {
    pub group: String,
    /// Where to go on, as the page before told; empty = from the start.
    pub cursor: String,
    /// Members wanted in this page; 0 = as many as the tenant likes.
    pub max_members: u32,
    /// Version of the list that is still known; empty = none.
    pub known_version: String,
}

/// One page of /get-group-members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MembersPage {
    /// Ids as sent, in order, repetitions included.
    pub members: Vec<String>,
    /// Empty = this was the last page.
    pub next_cursor: String,
    /// Empty = not told.
    pub version: String,
    /// The list is still that of `known_version`.
    pub not_modified: bool,
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
        question: &'a MembersQuestion,
    ) -> LocalFuture<'a, Result<MembersPage, HookFailure>>;

    fn offline_messages<'a>(
        &'a self,
        to: &'a HookTarget,
        user: &'a str,
        device: &'a str,
        max_messages: u32,
        cursor: &'a str,
    ) -> LocalFuture<'a, Result<OfflinePage, HookFailure>>;
}

/// A node of the cluster. `boot` tells its incarnations apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub node: Arc<str>,
    pub boot: u64,
    /// Where that node's node-to-node service listens, e.g. `http://10.0.0.7:8080`.
    pub endpoint: Arc<str>,
}

impl AsRef<str> for Peer {
    fn as_ref(&self) -> &str {
        &self.node
    }
}

/// A connection as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub device: Arc<str>,
    pub at: Peer,
    pub connection: u128,
    pub online_at_ms: i64,
}

/// Limits of one registration; 0 = unlimited.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectionLimits {
    pub tenant: u32,
    pub user: u32,
    pub lease_ms: u64,
    /// The registration of a session that lives already, with a directory that was away or lost its memory: an entry of
    /// the device whose connection is newer (`online_at_ms`) stays, and the answer is [`Registered::Newer`].
    pub again: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    New,
    /// The device was online before; limits were not checked.
    Replaced(Box<Route>),
    /// A newer connection of the device is online; nothing was changed.
    Newer,
    TenantFull {
        current: u32,
    },
    UserFull {
        current: u32,
    },
}

/// A session's entry in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub tenant: Arc<str>,
    pub user: Arc<str>,
    pub device: Arc<str>,
    pub connection: u128,
    pub lease_ms: u64,
}

/// What renewing a lease found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// Still this connection's; prolonged.
    Ours,
    /// Nobody's: it expired, or the directory lost it. Register again.
    Absent,
    /// Another connection of the device has it.
    Taken,
}

/// The directory's answer to a node's sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The node's last sign of life was still there. False at the start, after a long silence, and when the directory lost
    /// its memory: then the node registers all its sessions again.
    pub remembered: bool,
    /// Every live node, the asking one included, in the order of their ids.
    pub live: Vec<Peer>,
    /// Nodes that fell silent and whose entries are still there. See [`Directory::bury`].
    pub dead: Vec<Peer>,
    /// The directory's clock, Unix milliseconds; all nodes see the same one.
    pub now_ms: i64,
}

/// The directory could not be asked. The caller goes on with what this node knows itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("directory unavailable: {0}")]
pub struct DirectoryDown(pub String);

/// Hears of changed routes. Must not block.
pub trait RouteWatcher: Send + Sync {
    /// Somebody of this user came or went, on whichever node.
    fn changed(&self, tenant: &str, user: &str);

    /// A node came or left.
    fn nodes_changed(&self);

    /// False: changes may be missed from now on (and from shortly before). True: from now on none is.
    fn watching(&self, live: bool);
}

/// Who is online where, cluster-wide. Holds no business data.
///
/// `register` is atomic: of two concurrent registrations of one device the later wins and learns of the earlier, and a
/// limit is never exceeded by more than the registrations whose leases expired. `unregister` and `renew` act only
/// while the stored connection is the given one (fencing). Leases that are not renewed vanish. Every successful
/// `register` (unless it found the same connection) and `unregister` is told to watchers.
pub trait Directory: Send + Sync {
    fn register<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        route: &'a Route,
        limits: ConnectionLimits,
    ) -> LocalFuture<'a, Result<Registered, DirectoryDown>>;

    /// Removes those entries that are still these connections'; in as few round trips as possible.
    fn unregister<'a>(&'a self, leases: &'a [Lease]) -> LocalFuture<'a, Result<(), DirectoryDown>>;

    /// Prolongs leases, one answer each in the order asked; in as few round trips as possible.
    fn renew<'a>(&'a self, leases: &'a [Lease]) -> LocalFuture<'a, Result<Vec<Renewed>, DirectoryDown>>;

    /// Live routes of each user, in the order asked; an unknown user has none.
    fn routes<'a>(
        &'a self,
        tenant: &'a str,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<Vec<Route>>, DirectoryDown>>;

    /// Takes up to `want` of the tenant's `max` messages of a second (the directory's clock decides which second it is);
    /// answers how many it got.
    fn take_budget<'a>(&'a self, tenant: &'a str, want: u32, max: u32) -> LocalFuture<'a, Result<u32, DirectoryDown>>;

    /// Remembers for `ttl_ms` that a message was answered SENT: two hashes, of its identity and of its content.
    fn remember<'a>(
        &'a self,
        tenant: &'a str,
        key: u128,
        fingerprint: u64,
        ttl_ms: u64,
    ) -> LocalFuture<'a, Result<(), DirectoryDown>>;

    /// The fingerprint that was remembered for this identity.
    fn recall<'a>(&'a self, tenant: &'a str, key: u128) -> LocalFuture<'a, Result<Option<u64>, DirectoryDown>>;

    /// Takes this identity for `ttl_ms`, in one step: true for exactly one of all who ask meanwhile. Identities are those
    /// of `remember`: what is remembered is taken.
    fn claim<'a>(&'a self, tenant: &'a str, key: u128, ttl_ms: u64) -> LocalFuture<'a, Result<bool, DirectoryDown>>;

    /// A node's sign of life, good for `ttl_ms`. A node that starts again under its id takes its predecessor's place,
    /// which then counts as dead.
    fn announce<'a>(&'a self, me: &'a Peer, ttl_ms: u64) -> LocalFuture<'a, Result<Announced, DirectoryDown>>;

    /// Every live node, in the order of their ids, for one that gives no sign of life itself.
    fn live(&self) -> LocalFuture<'_, Result<Vec<Peer>, DirectoryDown>>;

    /// The node is no longer live from now on; its remaining entries are somebody's to bury.
    fn leave<'a>(&'a self, me: &'a Peer) -> LocalFuture<'a, Result<(), DirectoryDown>>;

    /// Removes up to `max` entries of a dead node; answers how many it looked at. 0: there are none left and the node is
    /// forgotten. Entries that a living node took over meanwhile stay. Safe to run on several nodes at once.
    fn bury<'a>(&'a self, dead: &'a Peer, max: usize) -> LocalFuture<'a, Result<usize, DirectoryDown>>;

    /// Tells changes to `watcher`, for as long as it lives, on whichever thread. One watcher per directory.
    fn watch(&self, watcher: std::sync::Weak<dyn RouteWatcher>);

    /// True when no other node can exist: lookups can be skipped.
    fn standalone(&self) -> bool {
        false
    }
}

/// How a peer answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("peer unavailable: {0}")]
    Unavailable(String),
    #[error("peer did not answer in time")]
    Deadline,
    #[error("peer refused: {0}")]
    Refused(String),
    /// The nodes do not have the same cluster token.
    #[error("peer does not know this node's token")]
    Unauthenticated,
    /// Too many calls in a row failed; the peer is not asked for a while.
    #[error("circuit open")]
    CircuitOpen,
}

/// What one node asks of another besides taking a message. All of it may be repeated without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerCall {
    /// Keep these frames in the offline buffer. `view` is the asking node's idea of who is live: where it differs from
    /// the asked node's, that one sees to it that the frames come where they belong. Answer: [`PeerAnswer::Placed`].
    Place { tenant: Arc<str>, kept: Vec<Kept>, view: u64 },
    /// What is kept for this device, oldest first; nobody but this `holder` gets it until it is settled, or `hold_ms` are over.
    /// Answer: [`PeerAnswer::Leased`].
    Lease { tenant: Arc<str>, user: Arc<str>, device: Arc<str>, holder: Holder, hold_ms: u64 },
    /// The device has the frames `taken`: forget them. The `released` ones are free again. Answer: [`PeerAnswer::Done`].
    Settle { tenant: Arc<str>, user: Arc<str>, device: Arc<str>, taken: Vec<DeliveryId>, released: Vec<DeliveryId> },
    /// Frames wait for these users, who have sessions on your node. Answer: [`PeerAnswer::Done`].
    Nudge { tenant: Arc<str>, users: Vec<Arc<str>> },
    /// This connection was replaced by a newer one of its device: close it. Answer: [`PeerAnswer::Done`].
    Replace { tenant: Arc<str>, user: Arc<str>, device: Arc<str>, connection: u128 },
    /// Close the user's sessions on your node (4410): of this device, or of all when `device` is empty. Answer:
    /// [`PeerAnswer::Kicked`].
    Kick { tenant: Arc<str>, user: Arc<str>, device: Arc<str> },
    /// Your figures, and those of these tenants as far as you serve them. Answer: [`PeerAnswer::Report`].
    Report { tenants: Vec<Arc<str>> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAnswer {
    /// Per frame in the order asked: was it taken? What was not is older than everything in a full buffer.
    Placed(Vec<bool>),
    /// The asked node is leaving: it keeps nothing any more.
    Leaving,
    /// The asked node does not serve the tenant, or not yet: ask it again later.
    NotServed,
    /// `held`: there is more for this device, which somebody else has leased.
    Leased {
        kept: Vec<Kept>,
        held: bool,
    },
    /// So many sessions were asked to go.
    Kicked(u32),
    Report(Box<NodeReport>),
    Done,
}

/// Other nodes.
///
/// `forward` answers, per user in the order given, how many live sessions took the message. Forwards of one thread to one
/// peer arrive in the order started. Repeating a delivery (same id) to a user reaches nobody twice and is answered as
/// the first time. A call that failed may have been carried out.
pub trait PeerLink: Send + Sync {
    fn forward<'a>(
        &'a self,
        endpoint: &'a str,
        delivery: &'a Delivery,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<u32>, LinkError>>;

    fn call<'a>(&'a self, endpoint: &'a str, call: PeerCall) -> LocalFuture<'a, Result<PeerAnswer, LinkError>>;
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
