//! The shell of an offline buffer: expires frames every second and answers questions. The frames outlive it.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use serde_json::json;

use super::{Offline, OfflineMsg};
use crate::mailbox::{In, Mailbox, MailboxStats};
use crate::node::Node;

const CAPACITY: usize = 64;
const TICK: Duration = Duration::from_secs(1);

struct OfflineBufferActor {
    offline: Arc<Offline>,
    stats: Arc<MailboxStats>,
}

impl Actor for OfflineBufferActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(CAPACITY);
        ctx.run_interval(TICK, |actor, _| actor.offline.tick());
    }
}

impl Handler<In<OfflineMsg>> for OfflineBufferActor {
    type Result = ();

    fn handle(&mut self, message: In<OfflineMsg>, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        stats.handle(message, |message| match message {
            OfflineMsg::Observe(reply) => {
                let buffer = self.offline.buffer();
                let _ = reply.send(json!({
                    "users": buffer.users(), "messages": buffer.messages(), "bytes": buffer.bytes(),
                }));
            }
            OfflineMsg::Stop => ctx.stop(),
        });
    }
}

/// Starts the actor on the control thread.
pub(crate) fn start(node: &Arc<Node>, tenant: &Arc<str>, offline: Arc<Offline>) -> Mailbox<OfflineMsg> {
    let stats = node.metrics.mailbox("offline_buffer", tenant, CAPACITY);
    let actor_stats = stats.clone();
    let address = OfflineBufferActor::start_in_arbiter(&node.control(), move |_| OfflineBufferActor {
        offline,
        stats: actor_stats,
    });
    node.attach("offline_buffer", tenant, Mailbox::new(address.recipient(), stats), OfflineMsg::Observe)
}
