//! The shell of the members actor: this node's sign of life, and what follows from the others' and their silence.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use mics_domain::ports::{Announced, DirectoryDown, Peer};
use mics_domain::rendezvous;
use serde_json::json;
use tokio::time::Instant;

use super::doubles::Doubles;
use super::{ANNOUNCE_EVERY, ANNOUNCE_TTL, MembersMsg};
use crate::keep;
use crate::link::Linked;
use crate::mailbox::{In, Mailbox, MailboxStats};
use crate::node::{Node, RootMsg};
use crate::router;

const CAPACITY: usize = 1024;
/// A node that finds its id taken has come later than the other if it has been there for less than this.
const NEWCOMER: Duration = Duration::from_secs(10);
const LEAVING_LOOK: Duration = Duration::from_millis(300);
/// Entries of a dead node removed in one go.
const BURY_BATCH: usize = 512;

struct MembersActor {
    node: Arc<Node>,
    stats: Arc<MailboxStats>,
    asking: bool,
    /// Look again as soon as the present question is answered.
    again: bool,
    announced: u64,
    down: bool,
    /// Until then nobody is believed dead: the directory has just come back, perhaps empty.
    grace_until: Option<Instant>,
    burials: u64,
    /// Since when this node has been in the register without a gap, and its last sign of life there.
    present: Option<Present>,
    doubles: Doubles,
    left: bool,
    _linked: Box<dyn std::any::Any>,
}

struct Present {
    since: Instant,
    last: Instant,
}

impl Actor for MembersActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(CAPACITY);
        self.announce(ctx);
        ctx.run_interval(ANNOUNCE_EVERY, |actor, ctx| {
            actor.announce(ctx);
            keep::retry(&actor.node);
        });
    }
}

impl MembersActor {
    /// A leaving node gives no sign of life, and must know who stays: to them it hands over.
    fn look(&mut self, ctx: &mut Context<Self>) {
        let node = self.node.clone();
        let asked = async move { node.directory.live().await };
        ctx.spawn(asked.into_actor(self).map(|live, actor, _| {
            if let Ok(live) = live {
                actor.node.members.update(live, false);
            }
        }));
    }

    fn announce(&mut self, ctx: &mut Context<Self>) {
        if self.left {
            return;
        }
        if std::mem::replace(&mut self.asking, true) {
            self.again = true;
            return;
        }
        let node = self.node.clone();
        let asked = async move { node.directory.announce(node.members.me(), ANNOUNCE_TTL.as_millis() as u64).await };
        ctx.spawn(asked.into_actor(self).map(|answer, actor, ctx| {
            actor.asking = false;
            if actor.left {
                // The question may have put this node back after it left.
                return drop(actix_rt::spawn(leave(actor.node.clone())));
            }
            actor.heard(answer);
            if std::mem::take(&mut actor.again) {
                actor.announce(ctx);
            }
        }));
    }

    fn heard(&mut self, answer: Result<Announced, DirectoryDown>) {
        let announced = match answer {
            Ok(announced) => announced,
            Err(error) => {
                if !std::mem::replace(&mut self.down, true) {
                    tracing::warn!(%error, "node register failed: going on with what this node knows");
                }
                return;
            }
        };
        self.node.metrics.cluster_nodes.with_label_values(&[&*self.node.id]).set(announced.live.len() as i64);
        self.node.learn_clock(announced.now_ms);
        let returned = std::mem::take(&mut self.down);
        let forgotten = self.announced > 0 && (returned || !announced.remembered);
        self.announced += 1;
        if self.is_not_alone(&announced) {
            return self.node.tell_root(RootMsg::NotAlone);
        }
        self.tell_of_doubles(&announced.live);
        if forgotten {
            tracing::warn!(remembered = announced.remembered, "directory_returned: registering all sessions again");
            self.grace_until = Some(Instant::now() + ANNOUNCE_TTL);
            actix_rt::spawn(router::register_all(self.node.clone()));
        }
        let grace = self.grace_until.is_some_and(|until| Instant::now() < until);
        if let Some(before) = self.node.members.update(announced.live.clone(), grace) {
            let nodes: Vec<&str> = announced.live.iter().map(|peer| &*peer.node).collect();
            tracing::info!(nodes = nodes.join(","), "cluster_changed");
            self.node.routes.forget_all();
            keep::rehome_all(&self.node, &before);
        }
        if !grace {
            let mine = announced.dead.into_iter().filter(|dead| self.is_mine(dead, &announced.live));
            mine.collect::<Vec<_>>().into_iter().for_each(|dead| self.bury(dead));
        }
    }

    /// Whoever signs with a node's id takes it from the others; within the time of a sign of life only a process that runs
    /// can have done so. The one that came later leaves: a second node with a copied configuration, or one that stood still
    /// until it was replaced. True when that is this one.
    fn is_not_alone(&mut self, announced: &Announced) -> bool {
        let now = Instant::now();
        let before = self.present.take().filter(|present| now < present.last + ANNOUNCE_TTL);
        let since = before.as_ref().map_or(now, |present| present.since);
        self.present = Some(Present { since, last: now });
        let me = self.node.members.me();
        let other = announced.dead.iter().find(|dead| dead.node == me.node && dead.boot != me.boot);
        let Some(other) = other.filter(|_| before.is_some() && !announced.remembered) else { return false };
        let later = now < since + NEWCOMER;
        tracing::error!(
            other_boot = other.boot, other_endpoint = %other.endpoint, leaves = later,
            "node_id_taken: another process runs as this node; NODE_ID must be unique, the one that came later leaves"
        );
        later
    }

    /// What is sent to one of two nodes with the same endpoint may come to the other.
    fn tell_of_doubles(&mut self, live: &[Peer]) {
        let me = self.node.members.me();
        for other in self.doubles.due(me, live, Instant::now()) {
            tracing::error!(
                node = %me.node, other = %other.node, endpoint = %me.endpoint,
                "public_endpoint_shared: another live node has this node's PUBLIC_ENDPOINT; each node needs its own"
            );
        }
    }

    /// One node buries; should two think so, nothing breaks.
    fn is_mine(&self, dead: &Peer, live: &[Peer]) -> bool {
        rendezvous::home("", &dead.node, live).is_some_and(|index| live[index].node == self.node.id)
    }

    fn bury(&mut self, dead: Peer) {
        self.burials += 1;
        let node = self.node.clone();
        actix_rt::spawn(async move {
            let label = [&*dead.node];
            tracing::warn!(node = %dead.node, boot = dead.boot, "dead_node_cleanup_start");
            let mut routes = 0;
            loop {
                match node.directory.bury(&dead, BURY_BATCH).await {
                    Ok(0) => break,
                    Ok(count) => routes += count,
                    Err(error) => {
                        // The next sign of life finds it again.
                        tracing::warn!(node = %dead.node, %error, "dead node cleanup sweep failed");
                        return;
                    }
                }
            }
            node.metrics.dead_node_cleanups_total.with_label_values(&label).inc();
            node.metrics.dead_node_routes_processed_total.with_label_values(&label).inc_by(routes as u64);
            tracing::warn!(node = %dead.node, boot = dead.boot, routes, "dead_node_cleanup_done");
        });
    }
}

impl Handler<In<MembersMsg>> for MembersActor {
    type Result = ();

    fn handle(&mut self, message: In<MembersMsg>, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        stats.handle(message, |message| match message {
            MembersMsg::Changed => self.announce(ctx),
            MembersMsg::Leave(reply) => {
                self.left = true;
                ctx.run_interval(LEAVING_LOOK, Self::look);
                let node = self.node.clone();
                actix_rt::spawn(async move {
                    leave(node).await;
                    let _ = reply.send(());
                });
            }
            MembersMsg::Observe(reply) => {
                let live: Vec<_> = self.node.members.live().iter().map(|peer| peer.node.to_string()).collect();
                let _ = reply.send(json!({
                    "live": live, "announced": self.announced, "directory_down": self.down, "burials": self.burials,
                }));
            }
        });
    }
}

async fn leave(node: Arc<Node>) {
    let _ = node.directory.leave(node.members.me()).await;
}

/// Starts the actor on the control thread.
pub(crate) fn start(node: &Arc<Node>) -> Mailbox<MembersMsg> {
    let stats = node.metrics.mailbox("members", "", CAPACITY);
    let (actor_node, actor_stats, end_node) = (node.clone(), stats.clone(), node.clone());
    let address = MembersActor::start_in_arbiter(&node.control(), move |_| MembersActor {
        node: actor_node,
        stats: actor_stats,
        asking: false,
        again: false,
        announced: 0,
        down: false,
        grace_until: None,
        burials: 0,
        present: None,
        doubles: Doubles::default(),
        left: false,
        _linked: Box::new(Linked::new(move |panicked| {
            end_node.tell_root(RootMsg::CriticalEnded { kind: "members", panicked });
        })),
    });
    node.attach("members", "", Mailbox::new(address.recipient(), stats), MembersMsg::Observe)
}
