//! Delivery: live sessions here, other nodes, and for whoever is nowhere the event or the offline buffer. Decides what an
//! ack may promise. It must not ask hooks whether a message is allowed.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mics_domain::codes::Refusal;
use mics_domain::event::EventType;
use mics_domain::ids;
use mics_domain::message::Message;
use mics_domain::policy::HookOp;
use mics_domain::ports::Route;
use tokio::time::Instant;

use crate::encode;
use crate::flow::Located;
use crate::outbox::{Outbox, Pushed, Urgency};
use crate::ports::LocalDelivery;
use crate::session::Live;
use crate::tenant::Tenant;

/// Messages per page of the offline pull, and pages per connect.
const PULL_PAGE: u32 = 100;
const PULL_PAGES: usize = 10;
/// Between looks whether a client has read enough of its backlog for more of it.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

/// What became of a message.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Delivery was attempted: the tenant gets an event, whatever came of it.
    pub attempted: bool,
    /// Reason of a FAILED ack; `None` = SENT.
    pub refused: Option<String>,
    pub notified: u32,
    pub buffered: u32,
    pub skipped: u32,
}

impl Outcome {
    fn refused(attempted: bool, reason: &str) -> Self {
        Outcome { attempted, refused: Some(reason.to_owned()), ..Outcome::default() }
    }
}

/// Delivers a message whose request bytes are `request`.
pub async fn deliver(from: &Rc<Live>, message: &Arc<Message>, request: &Bytes, located: Located) -> Outcome {
    let parcel = Parcel { message: message.clone(), request: request.clone(), frame: encode::delivery_of(request) };
    match located {
        Located::Single(routes) => single(from, &parcel, routes).await,
        Located::Members(members) => group(from, &parcel, members).await,
        Located::Nobody(reason) => Outcome::refused(false, reason),
    }
}

/// A message in the forms that delivery needs, each made once.
struct Parcel {
    message: Arc<Message>,
    request: Bytes,
    frame: Bytes,
}

async fn single(from: &Rc<Live>, parcel: &Parcel, routes: Vec<Route>) -> Outcome {
    let to: Arc<str> = parcel.message.to_user.as_str().into();
    let here = local(from, std::slice::from_ref(&to), parcel, Urgency::Interactive)[0];
    let mut reached = here;
    for endpoint in endpoints(&routes) {
        reached += forward(from, &endpoint, parcel, vec![to.clone()], "grpc_single").await[0];
    }
    if reached > 0 {
        return Outcome { attempted: true, ..Outcome::default() };
    }
    match keep_offline(from, parcel, &to) {
        Kept::Notified => {
            from.node.metrics.offline_notified_total.with_label_values(&[&from.tenant.id]).inc();
            Outcome { attempted: true, ..Outcome::default() }
        }
        Kept::Buffered => Outcome { attempted: true, ..Outcome::default() },
        Kept::No => Outcome::refused(true, Refusal::DeliveryFailed.reason()),
    }
}

async fn group(from: &Rc<Live>, parcel: &Parcel, members: Vec<String>) -> Outcome {
    let (metrics, tenant, settings) = (&from.node.metrics, &*from.tenant.id, &from.node.settings);
    let members = distinct(members);
    if members.is_empty() {
        return Outcome::refused(true, Refusal::GroupEmpty.reason());
    }
    if members.len() > settings.group_max_members {
        let over = (members.len() - settings.group_max_members) as u64;
        metrics.group_members_over_limit_total.with_label_values(&[tenant]).inc_by(over);
        metrics.group_members_capped_total.with_label_values(&[tenant]).inc_by(over);
        return Outcome::refused(true, Refusal::GroupTooLarge.reason());
    }
    metrics.group_messages_total.with_label_values(&[tenant]).inc();
    metrics.group_members_total.with_label_values(&[tenant]).inc_by(members.len() as u64);

    let mut tally = Tally { urgency: urgency(members.len()), ..Tally::default() };
    for chunk in members.chunks(settings.group_chunk) {
        deliver_chunk(from, parcel, chunk, &mut tally).await;
        // Others have their turn between chunks.
        tokio::task::yield_now().await;
    }
    metrics
        .group_fanout_nodes_total
        .with_label_values(&[tenant])
        .inc_by(tally.nodes.len() as u64 + u64::from(tally.here));
    metrics.group_offline_notified_total.with_label_values(&[tenant]).inc_by(tally.notified.into());
    metrics.group_offline_buffered_total.with_label_values(&[tenant]).inc_by(tally.buffered.into());
    metrics.group_offline_buffer_skipped_total.with_label_values(&[tenant]).inc_by(tally.skipped.into());
    let anything = tally.reached + tally.notified + tally.buffered > 0;
    Outcome {
        attempted: true,
        refused: (!anything).then(|| Refusal::DeliveryFailed.reason().to_owned()),
        notified: tally.notified,
        buffered: tally.buffered,
        skipped: tally.skipped,
    }
}

/// Fan-outs beyond a hub's turn must not hold up one-to-one messages.
fn urgency(members: usize) -> Urgency {
    if members > 64 { Urgency::Bulk } else { Urgency::Interactive }
}

struct Tally {
    urgency: Urgency,
    here: bool,
    nodes: HashSet<Arc<str>>,
    reached: u32,
    notified: u32,
    buffered: u32,
    skipped: u32,
}

impl Default for Tally {
    fn default() -> Self {
        let (here, nodes, reached, notified, buffered, skipped) = Default::default();
        Tally { urgency: Urgency::Interactive, here, nodes, reached, notified, buffered, skipped }
    }
}

async fn deliver_chunk(from: &Rc<Live>, parcel: &Parcel, chunk: &[Arc<str>], tally: &mut Tally) {
    let mut reached = local(from, chunk, parcel, tally.urgency);
    tally.here |= reached.iter().any(|sessions| *sessions > 0);
    let routes = from.node.router().elsewhere(&from.tenant.id, chunk.to_vec()).await;
    let mut buckets: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
    for (index, routes) in routes.iter().enumerate() {
        for endpoint in endpoints(routes) {
            buckets.entry(endpoint).or_default().push(index);
        }
    }
    let forwards = buckets.into_iter().map(|(endpoint, indexes)| async move {
        let users = indexes.iter().map(|index| chunk[*index].clone()).collect();
        (forward(from, &endpoint, parcel, users, "grpc_batch").await, indexes, endpoint)
    });
    for (counts, indexes, endpoint) in futures_util::future::join_all(forwards).await {
        tally.nodes.insert(endpoint);
        indexes.iter().zip(counts).for_each(|(index, sessions)| reached[*index] += sessions);
    }
    for (user, sessions) in chunk.iter().zip(reached) {
        if sessions > 0 {
            tally.reached += 1;
            continue;
        }
        match keep_group_member(from, parcel, user, tally.buffered) {
            Kept::Notified => tally.notified += 1,
            Kept::Buffered => tally.buffered += 1,
            Kept::No => tally.skipped += 1,
        }
    }
}

/// Members in the order given, each once; blank and impossible ids are dropped.
fn distinct(members: Vec<String>) -> Vec<Arc<str>> {
    let mut seen = HashSet::with_capacity(members.len());
    let usable = members.into_iter().filter(|member| !ids::is_blank(member) && ids::check_id(member).is_ok());
    usable.map(Arc::from).filter(|member: &Arc<str>| seen.insert(member.clone())).collect()
}

/// Hands the frame to the sessions of this node; sessions reached per user.
fn local(from: &Live, users: &[Arc<str>], parcel: &Parcel, urgency: Urgency) -> Vec<u32> {
    let reached: Vec<u32> =
        users.iter().map(|user| from.tenant.sessions.deliver(user, &parcel.frame, urgency)).collect();
    let total = reached.iter().map(|sessions| u64::from(*sessions)).sum();
    from.node.metrics.deliveries_total.with_label_values(&[&*from.tenant.id, "local"]).inc_by(total);
    reached
}

fn endpoints(routes: &[Route]) -> Vec<Arc<str>> {
    let mut endpoints: Vec<Arc<str>> = routes.iter().map(|route| route.endpoint.clone()).collect();
    endpoints.sort();
    endpoints.dedup();
    endpoints
}

/// Sessions that took the message on another node, per user; zeros when it can't be reached.
async fn forward(from: &Rc<Live>, endpoint: &Arc<str>, parcel: &Parcel, users: Vec<Arc<str>>, via: &str) -> Vec<u32> {
    let count = users.len();
    let (metrics, labels) = (&from.node.metrics, [&*from.tenant.id, via]);
    let started = Instant::now();
    let answer = from.node.router().forward(endpoint, &parcel.message, users).await;
    metrics.grpc_forward_duration_ms.with_label_values(&labels).observe(started.elapsed().as_secs_f64() * 1e3);
    match answer {
        Ok(counts) if counts.len() == count => {
            metrics.deliveries_total.with_label_values(&labels).inc_by(count as u64);
            counts
        }
        Ok(_) => vec![0; count],
        Err(error) => {
            let status = match error {
                mics_domain::ports::LinkError::Unavailable(_) => "Unavailable",
                mics_domain::ports::LinkError::Deadline => "DeadlineExceeded",
                mics_domain::ports::LinkError::Refused(_) => "Unknown",
            };
            metrics.grpc_forward_failed_total.with_label_values(&[labels[0], via, status]).inc_by(count as u64);
            vec![0; count]
        }
    }
}

/// What was done for a recipient who is nowhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Notified,
    Buffered,
    No,
}

/// The tenant keeps it (hook-pull) when its event is accepted; else this node does.
fn keep_offline(from: &Rc<Live>, parcel: &Parcel, user: &Arc<str>) -> Kept {
    let pull = from.config.offline_use_hook_pull;
    if pull {
        let event = from.message_event(EventType::OfflineMessage, &parcel.message, user, parcel.request.clone());
        if from.node.emit(event).is_ok() {
            return Kept::Notified;
        }
    }
    let via = if pull { "local_fallback" } else { "local" };
    if !from.tenant.offline.put(user, parcel.frame.clone(), from.config.offline_ttl_ms, via) {
        return Kept::No;
    }
    // The user may have connected, and drained the buffer, between the look and the write.
    redeliver(&from.tenant, user);
    Kept::Buffered
}

fn keep_group_member(from: &Rc<Live>, parcel: &Parcel, user: &Arc<str>, buffered: u32) -> Kept {
    let full = buffered as usize >= from.node.settings.group_offline_max_users;
    if full && !from.config.offline_use_hook_pull {
        return Kept::No;
    }
    keep_offline(from, parcel, user)
}

/// Hands buffered frames to the user's sessions, if there are any.
pub fn redeliver(tenant: &Tenant, user: &str) {
    if !tenant.offline.has(user) {
        return;
    }
    for session in tenant.sessions.of(user) {
        while drain_some(tenant, &session.outbox) == Drained::Some {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// Perhaps there is more.
    Some,
    /// There is nothing (more) for this device.
    Nothing,
    /// The rest must wait for the client to read, or the session is ending.
    Full,
}

/// Moves one lease of frames into the outbox, as far as they fit. A frame always fits when nothing is being written:
/// what is held back behind the backlog must not block it.
fn drain_some(tenant: &Tenant, outbox: &Arc<Outbox>) -> Drained {
    if !outbox.is_open() {
        return Drained::Full;
    }
    let Some(lease) = tenant.offline.lease(&outbox.user, &outbox.device, (outbox.room() / 2).max(1)) else {
        return Drained::Nothing;
    };
    let mut moved = 0;
    for entry in &lease.entries {
        let fits = outbox.is_idle() || outbox.room() >= entry.frame.len();
        if !fits || outbox.backlog(entry.frame.clone()) == Pushed::Closed {
            break;
        }
        moved += 1;
    }
    tenant.offline.commit_first(&lease, moved);
    if moved == lease.entries.len() { Drained::Some } else { Drained::Full }
}

/// After a connect: what the tenant kept, then what this node kept, then live messages.
pub async fn send_backlog(live: Rc<Live>) {
    if live.config.offline_use_hook_pull {
        pull(&live).await;
    }
    loop {
        match drain_some(&live.tenant, &live.outbox) {
            Drained::Some => {}
            Drained::Nothing => break,
            Drained::Full if !live.outbox.is_open() => break,
            // The rest follows as the client reads.
            Drained::Full => tokio::time::sleep(BACKLOG_PAUSE).await,
        }
    }
    live.outbox.release();
    redeliver(&live.tenant, &live.user);
}

/// Fetches offline messages from the tenant, page by page, bounded. A failure never ends the connection.
async fn pull(live: &Rc<Live>) {
    let (node, tenant) = (&live.node, &live.tenant);
    let guards = tenant.guards();
    let (target, policy) = tenant.hook_target(&live.config, node, &live.trace_id);
    let labels = |result| [&*tenant.id, result];
    let mut cursor = String::new();
    let mut pulled = 0u64;
    for page_number in 1..=PULL_PAGES {
        let call = node.hooks.offline_messages(&target, &live.user, &live.device, PULL_PAGE, &cursor);
        let answer = guards.gate(HookOp::GetOfflineMessages).call(&node.metrics, &policy, &target, call).await;
        let Ok(page) = answer else {
            node.metrics.hook_get_offline_messages_total.with_label_values(&labels("fail")).inc();
            node.metrics.offline_drain_failed_total.with_label_values(&labels("hook_fail")).inc();
            break;
        };
        node.metrics.hook_get_offline_messages_total.with_label_values(&labels("ok")).inc();
        if !page.ok || page.messages.is_empty() {
            break;
        }
        for message in &page.messages {
            pulled_one(live, encode::delivery_of(message)).await;
        }
        pulled += page.messages.len() as u64;
        if !page.has_more {
            break;
        }
        if ids::is_blank(&page.next_cursor) {
            tracing::warn!(tenant = %tenant.id, user = %live.user, count = pulled, "offline_drain_hook_missing_cursor");
            break;
        }
        if page_number == PULL_PAGES {
            tracing::warn!(tenant = %tenant.id, user = %live.user, count = pulled, "offline_drain_hook_limit_reached");
        }
        cursor = page.next_cursor;
    }
    node.metrics.offline_drained_from_hook_total.with_label_values(&[&*tenant.id, &*node.id]).inc_by(pulled);
}

/// Queues a pulled frame once the client has read enough to make room; what an ending session can't take is kept.
async fn pulled_one(live: &Live, frame: Bytes) {
    while live.outbox.is_open() && !live.outbox.is_idle() && live.outbox.room() < frame.len() {
        tokio::time::sleep(BACKLOG_PAUSE).await;
    }
    if live.outbox.backlog(frame.clone()) == Pushed::Closed {
        live.tenant.offline.put(&live.user, frame, live.config.offline_ttl_ms, "local_fallback");
    }
}

/// What this node does with a message that another node hands over.
impl LocalDelivery for crate::node::Node {
    fn deliver(&self, message: &Message, users: &[Arc<str>]) -> Vec<u32> {
        let Some(tenant) = self.tenants().get(&message.tenant) else { return vec![0; users.len()] };
        let frame = encode::delivery_of(&encode::request_bytes(message));
        let urgency = urgency(users.len());
        let reached: Vec<u32> = users.iter().map(|user| tenant.sessions.deliver(user, &frame, urgency)).collect();
        let via = if users.len() == 1 { "grpc_in_single" } else { "grpc_in_batch" };
        let total = reached.iter().map(|sessions| u64::from(*sessions)).sum();
        self.metrics.deliveries_total.with_label_values(&[&*tenant.id, via]).inc_by(total);
        reached
    }
}
