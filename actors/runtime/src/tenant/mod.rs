//! A tenant on this node: its settings, its sessions, its offline buffer, and the guards (limits, breakers, permits,
//! de-duplication) that its supervisor owns. [`Tenant::guards`] and [`Tenant::supervisor`] are the one door: they start
//! a supervisor that is missing or dead. Nothing here may be shared between tenants.

mod actor;
mod all;
mod message;
mod sessions;
mod shared_rate;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use mics_domain::codes::Close;
use mics_domain::dedup::Dedup;
use mics_domain::delivery::DeliveryId;
use mics_domain::message::Ack;
use mics_domain::policy::{HookOp, HookOverrides, HookPolicy, resolve};
use mics_domain::ports::HookTarget;
use mics_domain::rate::RateWindow;
use mics_domain::recent::Recent;
use mics_domain::roster::Lists;
use mics_domain::tenant::{Secret, TenantConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::gate::Gate;
use crate::mailbox::Mailbox;
use crate::node::{Node, clock_ms};
use crate::offline::{Offline, OfflineMsg, taker};
use crate::settings::{DEDUP_WINDOW, TenantSettings};

pub use all::{TenantChange, Tenants};
pub use message::TenantMsg;
pub use sessions::{Outrun, SessionRef, Sessions};
pub use shared_rate::{Question, SharedRate, Unanswered};

/// Deliveries of other nodes that are remembered.
const FORWARDED: usize = 65_536;
/// Member lists kept per tenant, for tenants who ask for that; about 50 bytes and the id per member.
const LISTED_GROUPS: usize = 1_000;
pub(crate) const LISTED_MEMBERS: usize = 200_000;

/// What a supervisor owns and hands out. A new supervisor brings new ones.
pub struct Guards {
    pub qps: Mutex<RateWindow>,
    /// The same, where nodes share it.
    pub shared_qps: Arc<SharedRate>,
    pub dedup: Mutex<Dedup<oneshot::Sender<Ack>>>,
    gates: [Gate; 4],
    pub lists: Mutex<Lists>,
    /// Of the tenant's latest successful /auth.
    latest: RwLock<Option<Arc<TenantConfig>>>,
}

impl Guards {
    fn new(dedup_max_records: usize) -> Self {
        Guards {
            qps: Mutex::default(),
            shared_qps: Arc::default(),
            dedup: Mutex::new(Dedup::new(dedup_max_records, DEDUP_WINDOW.as_millis() as u64)),
            gates: HookOp::ALL.map(Gate::new),
            lists: Mutex::new(Lists::new(LISTED_GROUPS, LISTED_MEMBERS)),
            latest: RwLock::default(),
        }
    }

    pub fn gate(&self, op: HookOp) -> &Gate {
        &self.gates[op as usize]
    }

    /// Remembers a configuration; equal ones are shared between sessions.
    pub fn learn(&self, config: TenantConfig) -> Arc<TenantConfig> {
        let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some(known) if **known == config => known.clone(),
            _ => latest.insert(Arc::new(config)).clone(),
        }
    }

    pub(crate) fn latest(&self) -> Option<Arc<TenantConfig>> {
        self.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running supervisor.
struct Supervised {
    incarnation: u64,
    mailbox: Mailbox<TenantMsg>,
    guards: Arc<Guards>,
}

#[derive(Default)]
struct Slot {
    incarnation: u64,
    running: Option<Supervised>,
    offline: Option<Mailbox<OfflineMsg>>,
}

/// Clients of a tenant that are let in at once; others wait. When thousands come back together, those who talk must not
/// wait behind all of them, nor must the tenant's /auth get more than it has permits for.
const ENTERING: usize = 64;

pub struct Tenant {
    pub id: Arc<str>,
    settings: ArcSwap<TenantSettings>,
    /// The secret before the present one, and until when (`clock_ms`) it is still accepted from callers.
    replaced_secret: ArcSwapOption<(Secret, u64)>,
    pub sessions: Sessions,
    /// Turns of those who are being let in.
    entering: Arc<Semaphore>,
    /// Places for its clients between upgrade and session.
    handshakes: Arc<Semaphore>,
    pub offline: Arc<Offline>,
    /// Deliveries that other nodes handed over, and how many sessions took each.
    forwarded: Mutex<Recent>,
    node: Weak<Node>,
    slot: Mutex<Slot>,
}

impl Tenant {
    fn new(id: &str, settings: TenantSettings, node: Weak<Node>, parts: &Node) -> Arc<Self> {
        let handshakes = match parts.settings.max_pending_handshakes {
            0 => Semaphore::MAX_PERMITS,
            all => (all.saturating_mul(3) / 4).clamp(1, Semaphore::MAX_PERMITS),
        };
        let id: Arc<str> = id.into();
        let offline =
            Arc::new(Offline::new(id.clone(), parts.id.clone(), parts.metrics.clone(), parts.settings.offline));
        let forwarded = Mutex::new(Recent::new(FORWARDED));
        Arc::new(Tenant {
            id,
            settings: ArcSwap::from_pointee(settings),
            replaced_secret: ArcSwapOption::empty(),
            sessions: Sessions::default(),
            entering: Arc::new(Semaphore::new(ENTERING)),
            handshakes: Arc::new(Semaphore::new(handshakes)),
            offline,
            forwarded,
            node,
            slot: Mutex::default(),
        })
    }

    /// What the operator says about it now.
    pub fn settings(&self) -> Arc<TenantSettings> {
        self.settings.load_full()
    }

    /// From the next use on these apply. A replaced secret is accepted for `overlap_ms` more.
    fn change(&self, settings: TenantSettings, overlap_ms: u64) {
        let before = self.settings.swap(Arc::new(settings.clone()));
        if before.secret != settings.secret {
            self.replaced_secret.store(Some(Arc::new((before.secret.clone(), clock_ms() + overlap_ms))));
        }
    }

    /// Keys that may sign what is asked in the tenant's name: the present one first. None when it has no secret.
    pub fn caller_secrets(&self) -> Vec<Secret> {
        let replaced = self.replaced_secret.load_full().filter(|replaced| clock_ms() < replaced.1);
        let secrets = [Some(self.settings().secret.clone()), replaced.map(|replaced| replaced.0.clone())];
        secrets.into_iter().flatten().filter(|secret| secret.key().is_some()).collect()
    }

    /// A supervisor was started at some time.
    pub(crate) fn was_used(&self) -> bool {
        self.slot().incarnation > 0
    }

    /// The guards, unless there is no supervisor: for looking at them only.
    pub(crate) fn running_guards(&self) -> Option<Arc<Guards>> {
        self.slot().running.as_ref().map(|running| running.guards.clone())
    }

    /// Delivers what another node handed over, unless it did so before; answers how many sessions took it, then and now.
    /// What nobody took may be tried again.
    pub fn once(&self, user: &str, id: DeliveryId, deliver: impl FnOnce() -> u32) -> u32 {
        let mut forwarded = self.forwarded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sessions) = forwarded.get(&taker(user, ""), id) {
            return sessions;
        }
        let sessions = deliver();
        if sessions > 0 {
            forwarded.remember(&taker(user, ""), id, sessions);
            for session in self.sessions.of(user) {
                forwarded.remember(&taker(user, &session.outbox.device), id, 1);
            }
        }
        sessions
    }

    /// A session got this delivery from a buffer. `device`: of a frame for certain devices; else empty.
    pub fn note_given(&self, user: &str, device: &str, id: DeliveryId) {
        self.forwarded.lock().unwrap_or_else(PoisonError::into_inner).remember(&taker(user, device), id, 1);
    }

    /// Another node handed this delivery over, and sessions took it. `device` as above: that one did.
    pub fn was_forwarded(&self, user: &str, device: &str, id: DeliveryId) -> bool {
        self.forwarded.lock().unwrap_or_else(PoisonError::into_inner).get(&taker(user, device), id).is_some()
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The door: whoever needs the guards gets those of a living supervisor.
    pub fn guards(self: &Arc<Self>) -> Arc<Guards> {
        self.enter(|running| running.guards.clone())
    }

    /// The door, for asking the supervisor itself.
    pub fn supervisor(self: &Arc<Self>) -> Mailbox<TenantMsg> {
        self.enter(|running| running.mailbox.clone())
    }

    fn enter<T>(self: &Arc<Self>, take: impl FnOnce(&Supervised) -> T) -> T {
        let mut slot = self.slot();
        if !slot.running.as_ref().is_some_and(|running| running.mailbox.connected()) {
            slot.running = None;
        }
        if slot.running.is_none() {
            self.start(&mut slot);
        }
        // Just started where it was missing.
        match &slot.running {
            Some(running) => take(running),
            None => unreachable!("a supervisor was started above"),
        }
    }

    fn start(self: &Arc<Self>, slot: &mut Slot) {
        let Some(node) = self.node.upgrade() else { unreachable!("a tenant does not outlive its node") };
        slot.incarnation += 1;
        let guards = Arc::new(Guards::new(node.settings.dedup_max_records));
        let mailbox = actor::start(&node, self.clone(), slot.incarnation, guards.clone());
        if !slot.offline.as_ref().is_some_and(Mailbox::connected) {
            slot.offline = Some(crate::offline::start(&node, &self.id, self.offline.clone()));
        }
        slot.running = Some(Supervised { incarnation: slot.incarnation, mailbox, guards });
    }

    /// A supervisor's drop guard: the next request starts a new one.
    fn supervisor_ended(&self, incarnation: u64) {
        let mut slot = self.slot();
        if slot.running.as_ref().is_some_and(|running| running.incarnation == incarnation) {
            slot.running = None;
        }
    }

    /// Stops what is running, at the end of the node or after a long idle time.
    pub fn stop(&self) {
        let mut slot = self.slot();
        if let Some(running) = slot.running.take() {
            let _ = running.mailbox.send(TenantMsg::Stop);
        }
        if let Some(offline) = slot.offline.take() {
            let _ = offline.send(OfflineMsg::Stop);
        }
    }

    /// A turn to be let in. As many have one at once as /auth has permits: who has a turn never waits for a permit. One
    /// tenant's clients may take three quarters of the node's handshakes; a quarter is left to the others.
    pub async fn enter_in_turn(self: &Arc<Self>, node: &Node) -> Result<[OwnedSemaphorePermit; 2], Close> {
        let place = self.handshakes.clone().try_acquire_owned().map_err(|_| Close::RateLimited)?;
        let permits = self.auth_policy(&self.guards(), node).max_concurrency.max(1) as usize;
        let weight = ENTERING.div_ceil(permits) as u32;
        // It is never closed.
        let turn = self.entering.clone().acquire_many_owned(weight).await.map_err(|_| Close::InternalError)?;
        Ok([place, turn])
    }

    /// Asks the supervisor whether this device may come in now.
    pub async fn admit(self: &Arc<Self>, user: &Arc<str>, device: &Arc<str>, replaces: bool) -> Result<(), Close> {
        let (reply, answer) = oneshot::channel();
        let message = TenantMsg::Admit { user: user.clone(), device: device.clone(), replaces, reply };
        if self.supervisor().send(message).is_err() {
            return Err(Close::RateLimited);
        }
        answer.await.unwrap_or(Err(Close::InternalError))
    }

    /// How to reach the tenant's /auth, and under which policy.
    pub fn auth_target(&self, guards: &Guards, node: &Node, trace_id: &str) -> (HookTarget, HookPolicy) {
        let settings = self.settings.load();
        let target = self.target(&settings.auth_url, &settings.secret, trace_id);
        (target, self.auth_policy(guards, node))
    }

    fn auth_policy(&self, guards: &Guards, node: &Node) -> HookPolicy {
        // A session's sign flag must not lock the tenant out of /auth.
        let overrides = guards
            .latest()
            .map_or(HookOverrides::default(), |latest| HookOverrides { sign_required: None, ..latest.hooks });
        self.policy(node, &overrides)
    }

    /// The same for the other hooks of a session.
    pub fn hook_target(&self, config: &TenantConfig, node: &Node, trace_id: &str) -> (HookTarget, HookPolicy) {
        let settings = self.settings.load();
        let base = if config.hook_base_url.is_empty() { &settings.auth_url } else { &config.hook_base_url };
        (self.target(base, &config.secret, trace_id), self.policy(node, &config.hooks))
    }

    fn target(&self, base_url: &str, secret: &Secret, trace_id: &str) -> HookTarget {
        HookTarget {
            tenant: self.id.clone(),
            base_url: base_url.trim_end_matches('/').to_owned(),
            secret: secret.clone(),
            trace_id: trace_id.to_owned(),
            trace: None,
        }
    }

    pub(crate) fn policy(&self, node: &Node, overrides: &HookOverrides) -> HookPolicy {
        resolve(node.settings.hooks, self.settings.load().hook_max_concurrency, overrides)
    }
}
