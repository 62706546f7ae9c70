//! The root actor: hears of the death of actors that the node can't do without, and has the process leave in order.

use std::sync::Arc;

use actix::prelude::*;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Node;
use crate::mailbox::{In, Mailbox, MailboxStats};

const CAPACITY: usize = 1024;

/// Everything the root can be asked.
pub enum RootMsg {
    /// An actor ended that a node can't do without; after a panic the node drains.
    CriticalEnded { kind: &'static str, panicked: bool },
    /// Another process has this node's id, and had it first.
    NotAlone,
    /// Figures for `/debug/actors`.
    Observe(oneshot::Sender<Value>),
}

struct Root {
    node: Arc<Node>,
    stats: Arc<MailboxStats>,
    deaths: u64,
}

impl Actor for Root {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(CAPACITY);
    }
}

impl Handler<In<RootMsg>> for Root {
    type Result = ();

    fn handle(&mut self, message: In<RootMsg>, _: &mut Self::Context) {
        let stats = self.stats.clone();
        stats.handle(message, |message| match message {
            RootMsg::CriticalEnded { kind, panicked } => self.critical_ended(kind, panicked),
            RootMsg::NotAlone => self.leave(),
            RootMsg::Observe(reply) => {
                let _ = reply.send(json!({
                    "node": &*self.node.id, "draining": self.node.draining(), "deaths": self.deaths,
                    "connections": self.node.connections(),
                }));
            }
        });
    }
}

impl Root {
    fn critical_ended(&mut self, kind: &'static str, panicked: bool) {
        if !panicked {
            return;
        }
        self.deaths += 1;
        self.node.metrics.actor_restarts_total.with_label_values(&[kind, ""]).inc();
        tracing::error!(kind, "critical_actor_panicked: this node drains and leaves");
        self.leave();
    }

    fn leave(&self) {
        let node = self.node.clone();
        actix_rt::spawn(async move {
            node.drain().await;
            node.gave_up.notify_one();
        });
    }
}

pub(super) fn start(node: &Arc<Node>) -> Mailbox<RootMsg> {
    let stats = node.metrics.mailbox("root", "", CAPACITY);
    let (actor_node, actor_stats) = (node.clone(), stats.clone());
    let address =
        Root::start_in_arbiter(&node.control(), move |_| Root { node: actor_node, stats: actor_stats, deaths: 0 });
    node.attach("root", "", Mailbox::new(address.recipient(), stats), RootMsg::Observe)
}
