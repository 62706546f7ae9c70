//! The shell of a router: starts directory and link calls beside each other and never awaits one in a handler. Renewals
//! and withdrawals wait a moment, so that many go in one round trip.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use actix::prelude::*;
use futures_util::stream::{self, StreamExt};
use mics_domain::codes::Close;
use mics_domain::ports::{ConnectionLimits, Lease, PeerCall, Registered, Renewed, Route};
use serde_json::json;

use super::{Router, RouterMsg};
use crate::link::Linked;
use crate::mailbox::{In, Mailbox, MailboxStats};
use crate::node::{Node, RootMsg};
use crate::settings::Withdrawal;
use crate::tenant::SessionRef;

const CAPACITY: usize = 16_384;
const BATCH: usize = 256;
const BATCH_WAIT: Duration = Duration::from_millis(20);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
const REGISTER_AT_ONCE: usize = 64;

struct RouterActor {
    node: Arc<Node>,
    stats: Arc<MailboxStats>,
    lookups: u64,
    forwards: u64,
    calls: u64,
    renewals: Vec<Lease>,
    withdrawals: Vec<Lease>,
    _linked: Box<dyn std::any::Any>,
}

impl Actor for RouterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(CAPACITY);
    }
}

impl Handler<In<RouterMsg>> for RouterActor {
    type Result = ();

    fn handle(&mut self, message: In<RouterMsg>, ctx: &mut Self::Context) {
        let (stats, node) = (self.stats.clone(), self.node.clone());
        stats.handle(message, |message| match message {
            RouterMsg::LookUp { tenant, users, reply } => {
                self.lookups += 1;
                actix_rt::spawn(async move {
                    let _ = reply.send(look_up(&node, &tenant, &users).await);
                });
            }
            RouterMsg::Forward { endpoint, delivery, users, reply } => {
                self.forwards += 1;
                actix_rt::spawn(async move {
                    let _ = reply.send(node.link.forward(&endpoint, &delivery, &users).await);
                });
            }
            RouterMsg::Call { endpoint, call, reply } => {
                self.calls += 1;
                actix_rt::spawn(async move {
                    let _ = reply.send(node.link.call(&endpoint, call).await);
                });
            }
            RouterMsg::Renew(lease) => {
                self.renewals.push(lease);
                self.batch(ctx, |actor| &mut actor.renewals, |node, leases| drop(actix_rt::spawn(renew(node, leases))));
            }
            RouterMsg::Withdraw(lease) => {
                self.withdrawals.push(lease);
                self.batch(ctx, |actor| &mut actor.withdrawals, withdraw);
            }
            RouterMsg::Observe(reply) => {
                let _ = reply.send(json!({
                    "lookups": self.lookups, "forwards": self.forwards, "calls": self.calls,
                }));
            }
        });
    }
}

impl RouterActor {
    /// Runs `act` on what has gathered: when it is a full batch, or a moment after the first came.
    fn batch(
        &mut self,
        ctx: &mut Context<Self>,
        gathered: fn(&mut Self) -> &mut Vec<Lease>,
        act: fn(Arc<Node>, Vec<Lease>),
    ) {
        match gathered(self).len() {
            1 => drop(ctx.run_later(BATCH_WAIT, move |actor, _| {
                let leases = std::mem::take(gathered(actor));
                if !leases.is_empty() {
                    act(actor.node.clone(), leases);
                }
            })),
            BATCH.. => act(self.node.clone(), std::mem::take(gathered(self))),
            _ => {}
        }
    }
}

async fn look_up(node: &Node, tenant: &Arc<str>, users: &[Arc<str>]) -> Option<Vec<Arc<[Route]>>> {
    let asked: Vec<_> = users.iter().map(|user| node.routes.ask(tenant, user)).collect();
    let op = if users.len() == 1 { "route_get" } else { "route_get_batch" };
    match node.directory.routes(tenant, users).await {
        Ok(found) => {
            let found: Vec<Arc<[Route]>> = found.into_iter().map(Arc::from).collect();
            for ((user, asked), routes) in users.iter().zip(asked).zip(&found) {
                node.routes.learn(tenant, user, asked, routes.clone());
            }
            Some(found)
        }
        Err(_) => {
            node.metrics.redis_fallback_total.with_label_values(&[tenant, op]).inc();
            None
        }
    }
}

/// Prolongs leases; registers again what the directory has lost, and closes sessions that were replaced elsewhere.
async fn renew(node: Arc<Node>, leases: Vec<Lease>) {
    match node.directory.renew(&leases).await {
        Ok(answers) => settle(&node, leases.into_iter().zip(answers)).await,
        Err(_) => {
            for lease in leases {
                node.metrics.ws_lease_renew_fail_total.with_label_values(&[&*lease.tenant]).inc();
            }
        }
    }
}

async fn settle(node: &Arc<Node>, renewed: impl Iterator<Item = (Lease, Renewed)>) {
    let lost = renewed.filter(|(_, answer)| *answer != Renewed::Ours);
    let session = |(lease, _): (Lease, Renewed)| {
        let tenant = node.tenants().get(&lease.tenant);
        tenant.and_then(|tenant| tenant.sessions.find(&lease.user, lease.connection))
    };
    stream::iter(lost.filter_map(session))
        .for_each_concurrent(REGISTER_AT_ONCE, |session| register(node, session))
        .await;
}

/// Registers a live session that the directory does not know. It is in already: no limit keeps it out, only a newer
/// connection of its device.
async fn register(node: &Arc<Node>, session: SessionRef) {
    let limits = ConnectionLimits { lease_ms: session.lease_ms, again: true, ..ConnectionLimits::default() };
    let (tenant, user) = (session.outbox.tenant.clone(), session.outbox.user.clone());
    match node.directory.register(&tenant, &user, &session.route(node.members.me()), limits).await {
        Ok(Registered::Newer) => return session.close(Close::Replaced),
        Ok(Registered::Replaced(old)) => replace(node, &tenant, &user, &old).await,
        Ok(_) => {}
        Err(_) => return,
    }
    // While nobody could find it, frames may have been kept for it.
    session.nudge();
}

/// Tells the node of an older connection of the same device that it was replaced. Should the call fail, that node learns
/// of it when it renews.
pub(crate) async fn replace(node: &Arc<Node>, tenant: &Arc<str>, user: &Arc<str>, old: &Route) {
    if old.at.node == node.id {
        return;
    }
    let (device, connection) = (old.device.clone(), old.connection);
    let call = PeerCall::Replace { tenant: tenant.clone(), user: user.clone(), device, connection };
    let _ = Router::current(node).call(&old.at.endpoint, call).await;
}

/// Sees to it that the directory knows every session of this node: after it was away, or this node was.
pub async fn register_all(node: Arc<Node>) {
    for tenant in node.tenants().iter() {
        let sessions = tenant.sessions.all();
        for sessions in sessions.chunks(BATCH) {
            let leases = sessions.iter().map(SessionRef::lease).collect();
            renew(node.clone(), leases).await;
        }
    }
}

/// Withdraws routes in the background; a lease that can't be withdrawn expires by itself.
pub(super) fn withdraw(node: Arc<Node>, leases: Vec<Lease>) {
    actix_rt::spawn(async move {
        if node.directory.unregister(&leases).await.is_ok() {
            return;
        }
        let metrics = &node.metrics;
        count(&leases, &metrics.admission_unregister_failed_total);
        let Withdrawal { capacity, attempts, backoff } = node.settings.withdrawal;
        let waiting = node.withdrawals_waiting.fetch_add(leases.len(), Relaxed);
        if waiting + leases.len() > capacity {
            count(&leases, &metrics.admission_unregister_retry_dropped_total);
        } else if retry(&node, &leases, attempts, backoff).await {
            count(&leases, &metrics.admission_unregister_retry_ok_total);
        } else {
            count(&leases, &metrics.admission_unregister_retry_giveup_total);
        }
        node.withdrawals_waiting.fetch_sub(leases.len(), Relaxed);
    });
}

async fn retry(node: &Node, leases: &[Lease], attempts: u32, backoff: Duration) -> bool {
    for attempt in 0..attempts {
        tokio::time::sleep((backoff * 2u32.saturating_pow(attempt)).min(LONGEST_BACKOFF)).await;
        if node.directory.unregister(leases).await.is_ok() {
            return true;
        }
        count(leases, &node.metrics.admission_unregister_retry_failed_total);
    }
    false
}

fn count(leases: &[Lease], counter: &prometheus::IntCounterVec) {
    leases.iter().for_each(|lease| counter.with_label_values(&[&*lease.tenant]).inc());
}

/// Starts this thread's router.
pub(super) fn start(node: &Arc<Node>) -> Mailbox<RouterMsg> {
    let stats = node.metrics.mailbox("router", "", CAPACITY);
    let end_node = node.clone();
    let linked = Linked::new(move |panicked| end_node.tell_root(RootMsg::CriticalEnded { kind: "router", panicked }));
    let actor = RouterActor {
        node: node.clone(),
        stats: stats.clone(),
        lookups: 0,
        forwards: 0,
        calls: 0,
        renewals: Vec::new(),
        withdrawals: Vec::new(),
        _linked: Box::new(linked),
    };
    node.attach("router", "", Mailbox::new(actor.start().recipient(), stats), RouterMsg::Observe)
}
