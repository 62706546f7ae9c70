//! The shell of a router: starts directory and link calls beside each other and never awaits one in a handler.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use mics_domain::ports::Route;
use serde_json::json;

use super::{Renewal, RouterMsg};
use crate::link::Linked;
use crate::mailbox::{In, Mailbox, MailboxStats};
use crate::node::{ActorRef, Node, Probe, RootMsg};

const CAPACITY: usize = 16_384;
const WITHDRAW_ATTEMPTS: u32 = 3;
const WITHDRAW_PAUSE: Duration = Duration::from_millis(50);

struct RouterActor {
    node: Arc<Node>,
    stats: Arc<MailboxStats>,
    lookups: u64,
    forwards: u64,
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

    fn handle(&mut self, message: In<RouterMsg>, _: &mut Self::Context) {
        let (stats, node) = (self.stats.clone(), self.node.clone());
        stats.handle(message, |message| match message {
            RouterMsg::Elsewhere { tenant, users, reply } => {
                self.lookups += 1;
                actix_rt::spawn(async move {
                    let _ = reply.send(elsewhere(&node, &tenant, &users).await);
                });
            }
            RouterMsg::Forward { endpoint, message, users, reply } => {
                self.forwards += 1;
                actix_rt::spawn(async move {
                    let _ = reply.send(node.link.forward(&endpoint, &message, &users).await);
                });
            }
            RouterMsg::Renew(renewal) => drop(actix_rt::spawn(renew(node, renewal))),
            RouterMsg::Withdraw(renewal) => withdraw_directly(node, renewal),
            RouterMsg::Observe(reply) => {
                let _ = reply.send(json!({ "lookups": self.lookups, "forwards": self.forwards }));
            }
        });
    }
}

async fn elsewhere(node: &Node, tenant: &str, users: &[Arc<str>]) -> Vec<Vec<Route>> {
    match node.directory.routes(tenant, users).await {
        Ok(mut routes) => {
            for of_user in &mut routes {
                of_user.retain(|route| route.node != node.id);
            }
            routes
        }
        Err(_) => {
            node.metrics.redis_fallback_total.with_label_values(&[tenant, "route_get_batch"]).inc();
            vec![Vec::new(); users.len()]
        }
    }
}

async fn renew(node: Arc<Node>, lease: Renewal) {
    let renewed =
        node.directory.renew(&lease.tenant, &lease.user, &lease.device, lease.connection, lease.lease_ms).await;
    if renewed.is_err() {
        node.metrics.ws_lease_renew_fail_total.with_label_values(&[&lease.tenant]).inc();
    }
}

/// Withdraws a route in the background; a lease that can't be withdrawn expires by itself.
pub(super) fn withdraw_directly(node: Arc<Node>, lease: Renewal) {
    actix_rt::spawn(async move {
        for attempt in 1..=WITHDRAW_ATTEMPTS {
            let gone = node.directory.unregister(&lease.tenant, &lease.user, &lease.device, lease.connection).await;
            if gone.is_ok() {
                return;
            }
            tokio::time::sleep(WITHDRAW_PAUSE * (1 << attempt)).await;
        }
        node.metrics.admission_unregister_failed_total.with_label_values(&[&lease.tenant]).inc();
    });
}

/// Starts this thread's router.
pub(super) fn start(node: &Arc<Node>) -> Mailbox<RouterMsg> {
    let stats = node.metrics.mailbox("router", "", CAPACITY);
    let end_node = node.clone();
    let linked = Linked::new(move |panicked| end_node.tell_root(RootMsg::CriticalEnded { kind: "router", panicked }));
    let actor =
        RouterActor { node: node.clone(), stats: stats.clone(), lookups: 0, forwards: 0, _linked: Box::new(linked) };
    let mailbox = Mailbox::new(actor.start().recipient(), stats.clone());
    let asked = mailbox.clone();
    let probe: Probe = Arc::new(move |reply| asked.send(RouterMsg::Observe(reply)).is_ok());
    node.watch(ActorRef { kind: "router", tenant: String::new(), stats, probe: Some(probe) });
    mailbox
}
