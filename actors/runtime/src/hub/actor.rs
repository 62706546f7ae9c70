//! The shell of a hub: keeps its loop running and answers questions.

use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use serde_json::json;

use super::{Hub, HubMsg};
use crate::link::Linked;
use crate::mailbox::{In, Mailbox, MailboxStats};
use crate::node::{Node, RootMsg};

const CAPACITY: usize = 64;

struct HubActor {
    hub: Rc<Hub>,
    stats: Arc<MailboxStats>,
}

impl Actor for HubActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(CAPACITY);
        let run = self.hub.clone().run();
        let node = self.hub.node.clone();
        let linked = Linked::new(move |panicked| node.tell_root(RootMsg::CriticalEnded { kind: "hub", panicked }));
        ctx.spawn(
            async move {
                let _linked = linked;
                run.await
            }
            .into_actor(self),
        );
    }
}

impl Handler<In<HubMsg>> for HubActor {
    type Result = ();

    fn handle(&mut self, message: In<HubMsg>, _: &mut Self::Context) {
        let hub = self.hub.clone();
        self.stats.handle(message, |message| match message {
            HubMsg::Observe(reply) => {
                let _ = reply.send(json!({ "sessions": hub.sessions() }));
            }
        });
    }
}

pub(super) fn start(hub: Rc<Hub>, node: &Arc<Node>) {
    let stats = node.metrics.mailbox("hub", "", CAPACITY);
    let address = HubActor { hub, stats: stats.clone() }.start();
    node.attach("hub", "", Mailbox::new(address.recipient(), stats), HubMsg::Observe);
}
