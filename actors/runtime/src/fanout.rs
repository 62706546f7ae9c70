//! Delivery: live sessions here, other nodes, and for whoever is nowhere the event or the offline buffer. Decides what an
//! ack may promise. It must not ask hooks whether a message is allowed.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use mics_domain::codes::Refusal;
use mics_domain::delivery::Delivery;
use mics_domain::event::EventType;
use mics_domain::message::Message;
use mics_domain::offline::Entry;
use mics_domain::ports::Route;
use mics_domain::trace::{SpanKind, TraceParent, Traced};
use tokio::time::Instant;

use crate::encode;
use crate::flow::Located;
use crate::keep::{self, Untold};
use crate::node::clock_ms;
use crate::outbox::{Frame, Urgency};
use crate::roster::Roster;
use crate::router::{self, Freshness};
use crate::sender::Sender;

/// Fan-outs beyond this many members must not hold up one-to-one messages.
const INTERACTIVE_MEMBERS: usize = 64;

/// What became of a message.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Delivery was attempted: the tenant gets an event, whatever came of it.
    pub attempted: bool,
    /// Reason of a FAILED ack; `None` = SENT.
    pub refused: Option<String>,
    /// Why not all members of the group could be tried, whatever became of the others.
    pub cut: Option<&'static str>,
    pub notified: u32,
    pub buffered: u32,
    pub skipped: u32,
}

/// Delivers a message whose request bytes are `request`.
pub async fn deliver(
    from: &Rc<Sender>,
    message: &Arc<Message>,
    request: &Bytes,
    located: Located,
    trace: Option<TraceParent>,
) -> Outcome {
    let mut traced = Traced::child(&*from.node.tracer, "deliver", SpanKind::Internal, trace);
    let trace = traced.place();
    let (fanout, incomplete) = match located {
        Located::Single(to, routes) => {
            let mut fanout = Fanout::new(from, message, request, Urgency::Interactive, "grpc_single", trace);
            fanout.chunk(&[to], vec![routes]).await;
            (fanout, None)
        }
        Located::Members(roster) => group(from, message, request, *roster, trace).await,
        Located::Nobody(reason) => return Outcome { refused: Some(reason.to_owned()), ..Outcome::default() },
    };
    fanout.count();
    fanout.tell(&mut traced);
    let Tally { reached, notified, buffered, skipped, .. } = fanout.tally;
    let nobody = reached + notified + buffered == 0;
    let refused = nobody.then(|| incomplete.unwrap_or(Refusal::DeliveryFailed.reason()).to_owned());
    Outcome { attempted: true, refused, cut: incomplete, notified, buffered, skipped }
}

/// Delivers to the members, page by page; with why they were not all of the group.
async fn group<'a>(
    from: &'a Rc<Sender>,
    message: &'a Arc<Message>,
    request: &'a Bytes,
    mut roster: Roster,
    trace: Option<TraceParent>,
) -> (Fanout<'a>, Option<&'static str>) {
    let mut fanout = Fanout::new(from, message, request, urgency(roster.expected()), "grpc_batch", trace);
    let mut page = roster.next().await;
    while let Some(members) = page {
        // The next page is fetched while this one is delivered: two are in memory at most.
        ((), page) = tokio::join!(fanout.members(&members), roster.next());
    }
    (fanout, roster.incomplete())
}

pub(crate) fn urgency(members: usize) -> Urgency {
    if members > INTERACTIVE_MEMBERS { Urgency::Bulk } else { Urgency::Interactive }
}

#[derive(Default)]
struct Tally {
    here: bool,
    nodes: HashSet<Arc<str>>,
    reached: u32,
    notified: u32,
    buffered: u32,
    skipped: u32,
}

/// One message on its way to its recipients, in the forms that delivery needs, each made once.
struct Fanout<'a> {
    from: &'a Rc<Sender>,
    message: &'a Arc<Message>,
    /// For users who get it there only, and for those who get it elsewhere too.
    deliveries: [Arc<Delivery>; 2],
    frame: Frame,
    urgency: Urgency,
    /// Metric label of forwards.
    via: &'static str,
    /// Peers that did not answer: they cost this message one deadline, not one per chunk.
    silent: HashSet<Arc<str>>,
    /// Recipients of this chunk for whom older messages wait.
    untold: Untold,
    tally: Tally,
}

impl<'a> Fanout<'a> {
    fn new(
        from: &'a Rc<Sender>,
        message: &'a Arc<Message>,
        request: &Bytes,
        urgency: Urgency,
        via: &'static str,
        trace: Option<TraceParent>,
    ) -> Self {
        let id = from.node.next_delivery();
        let delivery =
            |shared| Delivery { tenant: from.tenant.id.clone(), id, request: request.clone(), shared, trace };
        let deliveries = [Arc::new(delivery(false)), Arc::new(delivery(true))];
        let frame = Frame { id, bytes: encode::delivery_of(request), shared: false };
        Fanout {
            from,
            message,
            deliveries,
            frame,
            urgency,
            via,
            silent: HashSet::new(),
            untold: Untold::default(),
            tally: Tally::default(),
        }
    }

    fn is_group(&self) -> bool {
        self.via == "grpc_batch"
    }

    /// Delivers to members of a group, in chunks.
    async fn members(&mut self, members: &[Arc<str>]) {
        let (router, tenant) = (self.from.node.router(), &self.from.tenant.id);
        let look_up = async |chunk: Option<&[Arc<str>]>| match chunk {
            Some(chunk) => router.elsewhere(tenant, chunk, Freshness::Cached).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let chunks: Vec<&[Arc<str>]> = members.chunks(self.from.node.settings.group_chunk).collect();
        let mut routes = look_up(chunks.first().copied()).await;
        for (index, chunk) in chunks.iter().enumerate() {
            // The next chunk is looked up while this one is delivered.
            let next = look_up(chunks.get(index + 1).copied());
            ((), routes) = tokio::join!(self.chunk(chunk, routes), next);
            // Others have their turn between chunks.
            tokio::task::yield_now().await;
        }
    }

    /// Delivers to some recipients, whose routes on other nodes are `routes` (missing ones: nowhere).
    async fn chunk(&mut self, users: &[Arc<str>], mut routes: Vec<Arc<[Route]>>) {
        routes.resize(users.len(), [].into());
        let mut reached = self.local(users, &routes);
        self.untold = keep::unseen(&self.from.node, &self.from.tenant, users).await;
        let all: Vec<usize> = (0..users.len()).collect();
        self.forward(users, &routes, &all, &mut reached).await;
        // Routes that led nowhere may be old ones: looked up afresh and tried once more.
        let missed: Vec<usize> =
            all.into_iter().filter(|index| reached[*index] == 0 && !routes[*index].is_empty()).collect();
        if !missed.is_empty() {
            let asked: Vec<Arc<str>> = missed.iter().map(|index| users[*index].clone()).collect();
            let fresh = self.from.node.router().elsewhere(&self.from.tenant.id, &asked, Freshness::Fresh).await;
            missed.iter().zip(fresh.unwrap_or_default()).for_each(|(index, fresh)| routes[*index] = fresh);
            self.forward(users, &routes, &missed, &mut reached).await;
        }
        self.tally.reached += reached.iter().filter(|sessions| **sessions > 0).count() as u32;
        let absent = users.iter().zip(&reached).filter(|(_, sessions)| **sessions == 0);
        let absent: Vec<Arc<str>> = absent.map(|(user, _)| user.clone()).collect();
        if !absent.is_empty() {
            self.keep(absent).await;
        }
        let missing = |index: usize| self.missing(&users[index], &routes[index]);
        let partly =
            (0..users.len()).filter(|index| reached[*index] > 0).map(|index| (users[index].clone(), missing(index)));
        let partly: Vec<_> = partly.filter(|(_, devices)| !devices.is_empty()).collect();
        if !partly.is_empty() {
            let items = partly.into_iter().map(|(user, devices)| (user, self.entry(devices))).collect();
            keep::keep(&self.from.node, &self.from.tenant, items, "local").await;
        }
    }

    /// Devices whose node did not take the message, while another device of the user got it.
    fn missing(&self, user: &str, routes: &[Route]) -> Vec<Arc<str>> {
        let closed = |endpoint| self.silent.contains(endpoint) || self.untold.at(user, endpoint, routes);
        routes.iter().filter(|route| closed(&route.at.endpoint)).map(|route| route.device.clone()).collect()
    }

    /// Hands the frame to the sessions of this node; sessions reached per user.
    fn local(&mut self, users: &[Arc<str>], routes: &[Arc<[Route]>]) -> Vec<u32> {
        let sessions = &self.from.tenant.sessions;
        let (alone, shared) = (&self.frame, Frame { shared: true, ..self.frame.clone() });
        let frame = |index: usize| if routes[index].is_empty() { alone } else { &shared };
        let deliver = |(index, user)| sessions.deliver(user, frame(index), self.urgency);
        let reached: Vec<u32> = users.iter().map(|user| &**user).enumerate().map(deliver).collect();
        let total: u64 = reached.iter().map(|sessions| u64::from(*sessions)).sum();
        if total > 0 {
            self.tally.here = true;
            self.from.node.metrics.deliveries_total.with_label_values(&[&*self.from.tenant.id, "local"]).inc_by(total);
        }
        reached
    }

    /// One call per node for the users of these indexes, all nodes at once; adds the sessions reached.
    async fn forward(&mut self, users: &[Arc<str>], routes: &[Arc<[Route]>], indexes: &[usize], reached: &mut [u32]) {
        let mut by_peer: BTreeMap<(Arc<str>, Arc<str>, bool), Vec<usize>> = BTreeMap::new();
        for (index, route) in indexes.iter().flat_map(|index| routes[*index].iter().map(move |route| (*index, route))) {
            if self.untold.at(&users[index], &route.at.endpoint, &routes[index]) {
                continue;
            }
            let shared = reached[index] > 0 || routes[index].iter().any(|other| other.at.node != route.at.node);
            let indexes = by_peer.entry((route.at.endpoint.clone(), route.at.node.clone(), shared)).or_default();
            if indexes.last() != Some(&index) {
                indexes.push(index);
            }
        }
        by_peer.retain(|(endpoint, ..), _| !self.silent.contains(endpoint));
        let forwards = by_peer.into_iter().map(|((endpoint, node, shared), indexes)| {
            let users = indexes.iter().map(|index| users[*index].clone()).collect();
            let delivery = self.deliveries[usize::from(shared)].clone();
            let call = forward(self.from, (endpoint.clone(), node), delivery, users, self.via);
            async move { (call.await, indexes, endpoint) }
        });
        for (counts, indexes, endpoint) in futures_util::future::join_all(forwards).await {
            let Some(counts) = counts else {
                self.silent.insert(endpoint);
                continue;
            };
            indexes.iter().zip(counts).for_each(|(index, sessions)| reached[*index] += sessions);
            self.tally.nodes.insert(endpoint);
        }
    }

    /// For whoever is nowhere: the tenant keeps it (hook-pull) when its event is accepted; else the nodes do.
    async fn keep(&mut self, mut users: Vec<Arc<str>>) {
        if self.from.config.offline_use_hook_pull {
            let before = users.len();
            users.retain(|user| !self.notify(user));
            self.tally.notified += (before - users.len()) as u32;
        }
        if self.is_group() {
            let room = self.from.node.settings.group_offline_max_users.saturating_sub(self.tally.buffered as usize);
            self.tally.skipped += users.len().saturating_sub(room) as u32;
            users.truncate(room);
        }
        let items = users.into_iter().map(|user| (user, self.entry(Vec::new()))).collect();
        // The tenant's event was refused: the buffer stands in.
        let via = if self.from.config.offline_use_hook_pull { "local_fallback" } else { "local" };
        let kept = keep::keep(&self.from.node, &self.from.tenant, items, via).await;
        let buffered = kept.iter().filter(|kept| **kept).count() as u32;
        self.tally.buffered += buffered;
        self.tally.skipped += kept.len() as u32 - buffered;
    }

    fn entry(&self, devices: Vec<Arc<str>>) -> Entry {
        let expires_at_ms = clock_ms() + self.from.config.offline_ttl_ms;
        Entry { id: self.frame.id, frame: self.frame.bytes.clone(), expires_at_ms, devices }
    }

    fn notify(&self, user: &str) -> bool {
        let request = self.deliveries[0].request.clone();
        self.from
            .node
            .emit(self.from.message_event(
                EventType::OfflineMessage,
                self.message,
                user,
                request,
                self.deliveries[0].trace,
            ))
            .is_ok()
    }

    fn tell(&self, traced: &mut Traced) {
        let Tally { reached, notified, buffered, skipped, .. } = self.tally;
        traced.set("mics.users_reached", reached);
        traced.set("mics.users_notified", notified);
        traced.set("mics.users_buffered", buffered);
        traced.set("mics.users_skipped", skipped);
    }

    fn count(&self) {
        let (metrics, tenant) = (&self.from.node.metrics, [&*self.from.tenant.id]);
        let Tally { here, nodes, notified, buffered, skipped, .. } = &self.tally;
        if !self.is_group() {
            if *notified > 0 {
                metrics.offline_notified_total.with_label_values(&tenant).inc();
            }
            return;
        }
        let touched = nodes.len() as u64 + u64::from(*here);
        metrics.group_fanout_nodes_total.with_label_values(&tenant).inc_by(touched);
        metrics.group_offline_notified_total.with_label_values(&tenant).inc_by(u64::from(*notified));
        metrics.group_offline_buffered_total.with_label_values(&tenant).inc_by(u64::from(*buffered));
        metrics.group_offline_buffer_skipped_total.with_label_values(&tenant).inc_by(u64::from(*skipped));
    }
}

/// Sessions that took the message on another node, per user; `None` when it can't be reached.
async fn forward(
    from: &Rc<Sender>,
    (endpoint, node): (Arc<str>, Arc<str>),
    delivery: Arc<Delivery>,
    users: Vec<Arc<str>>,
    via: &'static str,
) -> Option<Vec<u32>> {
    let count = users.len();
    let (metrics, labels) = (&from.node.metrics, [&*from.tenant.id, via]);
    let mut traced = Traced::child(&*from.node.tracer, "forward", SpanKind::Client, delivery.trace);
    traced.set("mics.peer", &node);
    let started = Instant::now();
    let answer = from.node.router().forward(&endpoint, &delivery, users).await;
    metrics.grpc_forward_duration_ms.with_label_values(&labels).observe(started.elapsed().as_secs_f64() * 1e3);
    match answer {
        Ok(counts) if counts.len() == count => {
            metrics.deliveries_total.with_label_values(&labels).inc_by(count as u64);
            Some(counts)
        }
        Ok(_) => None,
        Err(error) => {
            traced.fail(&error);
            if error == mics_domain::ports::LinkError::CircuitOpen {
                let labels = [labels[0], &*node, via];
                metrics.grpc_circuit_open_total.with_label_values(&labels).inc();
            }
            let labels = [labels[0], via, router::status(&error)];
            metrics.grpc_forward_failed_total.with_label_values(&labels).inc_by(count as u64);
            None
        }
    }
}
