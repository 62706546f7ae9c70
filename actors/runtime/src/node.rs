//! One gateway node: its ports, settings, tenants, and the root actor that watches over the others. Start order and
//! drain are here. It must not know how frames arrive or leave.

mod drain;
mod peer;
mod root;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_rt::{Arbiter, ArbiterHandle};
use mics_domain::delivery::DeliveryId;
use mics_domain::event::Event;
use mics_domain::ports::{Directory, EventRefused, EventSink, Hooks, Peer, PeerLink, RouteWatcher};
use mics_domain::trace::Tracer;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Notify, OnceCell, oneshot};
use tokio::time::Instant;

use crate::keep::Pending;
use crate::mailbox::{Mailbox, MailboxStats, MailboxView};
use crate::members::{Members, MembersMsg};
use crate::metrics::Metrics;
use crate::quiet::Quiet;
use crate::router::{RouteCache, Router};
use crate::settings::{Settings, TenantSettings};
use crate::tenant::{TenantChange, Tenants};

pub use root::RootMsg;

/// Milliseconds of a clock that only goes forward; the clock of every rule.
pub fn clock_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    // The offset keeps "a while ago" positive right after the start.
    START.get_or_init(Instant::now).elapsed().as_millis() as u64 + 3_600_000
}

/// Unix milliseconds, for people and other machines.
pub fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// The outside world.
#[derive(Clone)]
pub struct Ports {
    pub hooks: Arc<dyn Hooks>,
    pub directory: Arc<dyn Directory>,
    pub link: Arc<dyn PeerLink>,
    pub events: Arc<dyn EventSink>,
    pub tracer: Arc<dyn Tracer>,
}

/// Asks an actor for its figures; false when it can't be asked.
pub type Probe = Arc<dyn Fn(oneshot::Sender<Value>) -> bool + Send + Sync>;

/// An actor (or a kind of actors) that `/debug/actors` shows.
#[derive(Clone)]
pub struct ActorRef {
    pub kind: &'static str,
    /// Empty for actors of the node.
    pub tenant: String,
    pub stats: Arc<MailboxStats>,
    pub probe: Option<Probe>,
}

/// One row of `/debug/actors`.
#[derive(Debug, Serialize)]
pub struct ActorView {
    pub kind: &'static str,
    pub tenant: String,
    #[serde(flatten)]
    pub mailbox: MailboxView,
    pub state: Value,
}

pub struct Node {
    pub id: Arc<str>,
    pub settings: Settings,
    pub metrics: Metrics,
    pub hooks: Arc<dyn Hooks>,
    pub directory: Arc<dyn Directory>,
    pub link: Arc<dyn PeerLink>,
    pub events: Arc<dyn EventSink>,
    pub tracer: Arc<dyn Tracer>,
    pub members: Members,
    pub routes: RouteCache,
    pub pending: Pending,
    tenants: OnceLock<Tenants>,
    control: ArbiterHandle,
    root: Mutex<Option<Mailbox<RootMsg>>>,
    members_actor: OnceLock<Mailbox<MembersMsg>>,
    origin: u64,
    last_delivery: AtomicU64,
    /// The directory's clock less this process's, milliseconds.
    clock_ahead_ms: AtomicI64,
    watched: Mutex<Vec<ActorRef>>,
    session_stats: Mutex<Vec<(Arc<str>, Arc<MailboxStats>)>>,
    /// By tenant and kind of limit.
    limits_logged: Quiet<(Arc<str>, &'static str)>,
    draining: AtomicBool,
    drained: OnceCell<()>,
    gave_up: Notify,
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    /// Routes that wait for another attempt to withdraw them.
    pub(crate) withdrawals_waiting: AtomicUsize,
}

/// Counts one open socket or one handshake, as long as it is held.
pub struct Counted {
    node: Arc<Node>,
    which: fn(&Node) -> &AtomicUsize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.which)(&self.node).fetch_sub(1, Relaxed);
    }
}

impl Node {
    /// Starts the control thread and the node's own actors. Needs a running actix system.
    pub fn start(settings: Settings, ports: Ports, metrics: Metrics) -> Arc<Self> {
        Self::start_on(Arbiter::new().handle(), settings, ports, metrics)
    }

    /// The same with the node's own actors on a thread that is there already.
    pub fn start_on(control: ArbiterHandle, settings: Settings, ports: Ports, metrics: Metrics) -> Arc<Self> {
        let Ports { hooks, directory, link, events, tracer } = ports;
        let id: Arc<str> = settings.node_id.as_str().into();
        let me = Peer { node: id.clone(), boot: unix_ms().max(0) as u64, endpoint: settings.endpoint.as_str().into() };
        let node = Arc::new_cyclic(|weak| {
            let node = Node {
                id,
                members: Members::new(me.clone()),
                routes: RouteCache::new(settings.route_cache_ttl, settings.route_cache_bytes, &metrics),
                pending: Pending::default(),
                settings,
                metrics,
                hooks,
                directory,
                link,
                events,
                tracer,
                tenants: OnceLock::new(),
                control,
                root: Mutex::default(),
                members_actor: OnceLock::new(),
                origin: origin(&me),
                last_delivery: AtomicU64::new(0),
                clock_ahead_ms: AtomicI64::new(unix_ms() - clock_ms() as i64),
                watched: Mutex::default(),
                session_stats: Mutex::default(),
                limits_logged: Quiet::default(),
                draining: AtomicBool::new(false),
                drained: OnceCell::new(),
                gave_up: Notify::new(),
                connections: AtomicUsize::new(0),
                handshakes: AtomicUsize::new(0),
                withdrawals_waiting: AtomicUsize::new(0),
            };
            let tenants = Tenants::new(weak, &node);
            let _ = node.tenants.set(tenants);
            node
        });
        // The first of its kind; later ones are started when one died.
        drop(node.root());
        if !node.directory.standalone() {
            let watcher: Arc<dyn RouteWatcher> = node.clone();
            node.directory.watch(Arc::downgrade(&watcher));
            let _ = node.members_actor.set(crate::members::start(&node));
        }
        node
    }

    /// The root actor; one that died is started again.
    fn root(self: &Arc<Self>) -> Mailbox<RootMsg> {
        let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        match &*root {
            Some(running) if running.connected() => running.clone(),
            _ => root.insert(root::start(self)).clone(),
        }
    }

    /// The identity of a new delivery: grows with time and within this node.
    pub fn next_delivery(&self) -> DeliveryId {
        let now = (self.cluster_ms().max(0) as u64) << 16;
        let next = |last: u64| Some(now.max(last + 1));
        // The closure never declines, so both arms carry the value before.
        let last = match self.last_delivery.fetch_update(Relaxed, Relaxed, next) {
            Ok(last) | Err(last) => last,
        };
        (u128::from(now.max(last + 1)) << 64) | u128::from(self.origin)
    }

    /// The directory's clock, Unix milliseconds: the same on every node, and it does not jump with the machine's.
    pub fn cluster_ms(&self) -> i64 {
        clock_ms() as i64 + self.clock_ahead_ms.load(Relaxed)
    }

    pub(crate) fn learn_clock(&self, now_ms: i64) {
        self.clock_ahead_ms.store(now_ms - clock_ms() as i64, Relaxed);
    }

    pub fn tenants(&self) -> &Tenants {
        match self.tenants.get() {
            Some(tenants) => tenants,
            None => unreachable!("set at start"),
        }
    }

    /// The thread of the actors that are not on the path of a message.
    pub fn control(&self) -> ArbiterHandle {
        self.control.clone()
    }

    /// This thread's router.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::current(self)
    }

    pub fn tell_root(self: &Arc<Self>, message: RootMsg) {
        let _ = self.root().send(message);
    }

    pub fn draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// It has left: nobody is here any more, or the time was up.
    pub fn drained(&self) -> bool {
        self.drained.initialized()
    }

    /// Waits until the node has left by itself, because it can't go on. For one who waits.
    pub async fn gave_up(&self) {
        self.gave_up.notified().await;
    }

    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Relaxed)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// A place for one more socket, or the reason why there is none.
    pub fn open_socket(self: &Arc<Self>) -> Result<Counted, &'static str> {
        self.count(Self::connection_count, self.settings.max_connections).ok_or("max_connections")
    }

    /// A place for one more handshake (authentication under way).
    pub fn open_handshake(self: &Arc<Self>) -> Result<Counted, &'static str> {
        self.count(Self::handshake_count, self.settings.max_pending_handshakes).ok_or("max_pending_handshakes")
    }

    fn connection_count(&self) -> &AtomicUsize {
        &self.connections
    }

    fn handshake_count(&self) -> &AtomicUsize {
        &self.handshakes
    }

    fn count(self: &Arc<Self>, which: fn(&Node) -> &AtomicUsize, max: usize) -> Option<Counted> {
        let before = which(self).fetch_add(1, Relaxed);
        let counted = Counted { node: self.clone(), which };
        (max == 0 || before < max).then_some(counted)
    }

    /// Mailbox figures shared by all sessions of a tenant.
    pub fn session_stats(&self, tenant: &Arc<str>, capacity: usize) -> Arc<MailboxStats> {
        let mut known = self.session_stats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stats)) = known.iter().find(|(id, _)| id == tenant) {
            return stats.clone();
        }
        let stats = self.metrics.mailbox("session", tenant, capacity);
        known.push((tenant.clone(), stats.clone()));
        drop(known);
        self.watch(ActorRef { kind: "session", tenant: tenant.to_string(), stats: stats.clone(), probe: None });
        stats
    }

    /// Shows an actor in `/debug/actors`, where `observe` asks it for its figures.
    pub fn attach<M: Send + 'static>(
        &self,
        kind: &'static str,
        tenant: &str,
        mailbox: Mailbox<M>,
        observe: fn(oneshot::Sender<Value>) -> M,
    ) -> Mailbox<M> {
        let asked = mailbox.clone();
        let probe: Probe = Arc::new(move |reply| asked.send(observe(reply)).is_ok());
        let stats = mailbox.stats();
        self.watch(ActorRef { kind, tenant: tenant.to_owned(), stats, probe: Some(probe) });
        mailbox
    }

    /// Shows an actor in `/debug/actors`; a restarted one takes the place of its predecessor.
    pub fn watch(&self, actor: ActorRef) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = !actor.tenant.is_empty() || actor.kind == "root";
        watched.retain(|known| !(alone && known.kind == actor.kind && known.tenant == actor.tenant));
        watched.push(actor);
    }

    /// All actors with their figures; an actor that does not answer in time shows `null`.
    pub async fn observe(&self) -> Vec<ActorView> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut views = Vec::with_capacity(watched.len());
        for actor in watched {
            let (reply, answer) = oneshot::channel();
            let asked = actor.probe.as_ref().is_some_and(|probe| probe(reply));
            let state = match asked {
                true => tokio::time::timeout(Duration::from_millis(200), answer).await.ok().and_then(Result::ok),
                false => None,
            };
            let mailbox = actor.stats.view();
            views.push(ActorView {
                kind: actor.kind,
                tenant: actor.tenant,
                mailbox,
                state: state.unwrap_or(Value::Null),
            });
        }
        views
    }

    /// The same without asking the actors: their mailboxes only.
    pub fn mailboxes(&self) -> Vec<ActorView> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let view = |actor: &ActorRef| {
            let (tenant, mailbox) = (actor.tenant.clone(), actor.stats.view());
            ActorView { kind: actor.kind, tenant, mailbox, state: Value::Null }
        };
        watched.iter().map(view).collect()
    }

    /// Serves these tenants from now on, see [`Tenants`]. Answers what is different, in no order.
    pub fn change_tenants(self: &Arc<Self>, wanted: &BTreeMap<String, TenantSettings>) -> Vec<TenantChange> {
        self.tenants().replace(self, wanted)
    }

    /// Frees what is known of a tenant that is no more: its rows of actors and its series of metrics.
    pub(crate) fn forget_tenant(&self, tenant: &str) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).retain(|actor| actor.tenant != tenant);
        self.session_stats.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| **id != *tenant);
        self.limits_logged.retain(|(id, _)| **id != *tenant);
        self.metrics.forget_tenant(tenant);
    }

    /// Refreshes the gauges that are only known when asked for.
    pub fn refresh_gauges(&self) {
        self.metrics.ws_connections.with_label_values(&[&self.id]).set(self.connections() as i64);
        for actor in self.watched.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = [actor.kind, &actor.tenant];
            self.metrics.actor_mailbox_depth.with_label_values(&labels).set(actor.stats.view().depth as i64);
        }
    }

    /// Logs that a limit was reached, at most once per 5 s and (tenant, kind).
    pub fn limit_reached(&self, tenant: &Arc<str>, kind: &'static str, threshold: u32, current: u32) {
        if self.limits_logged.due((tenant.clone(), kind), clock_ms()).is_some() {
            tracing::warn!(tenant = %tenant, node = %self.id, kind, threshold, current, "limit_reached");
        }
    }

    /// Offers an event; a refusal is counted.
    pub fn emit(&self, event: Event) -> Result<(), EventRefused> {
        let tenant = event.tenant.clone();
        let offered = self.events.offer(event);
        if let Err(refused) = offered {
            let reason = match refused {
                // Nobody asked for events: nothing is lost.
                EventRefused::Off => return Err(refused),
                EventRefused::TenantQuota => "tenant_quota",
                EventRefused::QueueFull => "queue_full",
            };
            self.metrics.mq_dropped_total.with_label_values(&[&*tenant, reason]).inc();
        }
        offered
    }
}

/// The part of delivery ids that tells nodes and their incarnations apart.
fn origin(me: &Peer) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    (&me.node, me.boot).hash(&mut hasher);
    // The lowest byte counts how often the delivery came back to a buffer.
    hasher.finish() << 8
}

impl RouteWatcher for Node {
    fn changed(&self, tenant: &str, user: &str) {
        self.routes.forget(tenant, user);
    }

    fn nodes_changed(&self) {
        if let Some(members) = self.members_actor.get() {
            let _ = members.send(MembersMsg::Changed);
        }
    }

    fn watching(&self, live: bool) {
        self.routes.set_watched(live);
    }
}

thread_local! {
    static RANDOM: RefCell<rand::rngs::SmallRng> = RefCell::new(rand::SeedableRng::from_os_rng());
}

/// A new connection or trace id. Unique, not secret.
pub fn fresh_id() -> u128 {
    use rand::Rng;
    RANDOM.with_borrow_mut(|random| random.random())
}
