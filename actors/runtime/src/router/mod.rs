//! Where recipients are, and how to reach other nodes: one router per worker thread stands between the flow and the
//! directory and peer links. On a node that stands alone every answer is "nowhere else", without a hop.

mod actor;
mod message;

use std::cell::RefCell;
use std::sync::Arc;

use mics_domain::message::Message;
use mics_domain::ports::{LinkError, Route};
use tokio::sync::oneshot;

use crate::mailbox::Mailbox;
use crate::node::Node;
use crate::session::Live;

pub use message::{Renewal, RouterMsg};

/// A router as its thread sees it.
#[derive(Clone)]
pub struct Router {
    mailbox: Mailbox<RouterMsg>,
    standalone: bool,
}

thread_local! {
    static CURRENT: RefCell<Vec<(usize, Router)>> = const { RefCell::new(Vec::new()) };
}

impl Router {
    /// This thread's router of the node, started at first use.
    pub fn current(node: &Arc<Node>) -> Router {
        let key = Arc::as_ptr(node) as usize;
        if let Some(router) = CURRENT.with_borrow(|all| all.iter().find(|(k, _)| *k == key).map(|(_, r)| r.clone())) {
            return router;
        }
        let router = Router { mailbox: actor::start(node), standalone: node.directory.standalone() };
        CURRENT.with_borrow_mut(|all| all.push((key, router.clone())));
        router
    }

    /// Routes of each user on **other** nodes, in the order asked. A directory that can't be asked knows nothing.
    pub async fn elsewhere(&self, tenant: &Arc<str>, users: Vec<Arc<str>>) -> Vec<Vec<Route>> {
        let count = users.len();
        if self.standalone {
            return vec![Vec::new(); count];
        }
        let (reply, answer) = oneshot::channel();
        let asked = self.mailbox.send(RouterMsg::Elsewhere { tenant: tenant.clone(), users, reply });
        match asked {
            Ok(()) => answer.await.unwrap_or_else(|_| vec![Vec::new(); count]),
            Err(_) => vec![Vec::new(); count],
        }
    }

    /// Hands a message to the node at `endpoint`; answers how many sessions took it, per user.
    pub async fn forward(
        &self,
        endpoint: &Arc<str>,
        message: &Arc<Message>,
        users: Vec<Arc<str>>,
    ) -> Result<Vec<u32>, LinkError> {
        let (reply, answer) = oneshot::channel();
        let message = message.clone();
        let asked = self.mailbox.send(RouterMsg::Forward { endpoint: endpoint.clone(), message, users, reply });
        asked.map_err(|_| LinkError::Unavailable("router busy".into()))?;
        answer.await.unwrap_or_else(|_| Err(LinkError::Unavailable("router ended".into())))
    }

    /// Prolongs a session's lease; batched.
    pub fn renew(&self, live: &Live) {
        let renewal = Renewal {
            tenant: live.tenant.id.clone(),
            user: live.user.clone(),
            device: live.device.clone(),
            connection: live.connection,
            lease_ms: live.config.lease_ms(),
        };
        let _ = self.mailbox.send(RouterMsg::Renew(renewal));
    }

    /// Withdraws a route, in the background, with retries. Never loses one to a full mailbox.
    pub fn withdraw(&self, node: &Arc<Node>, renewal: Renewal) {
        if let Err((_, renewal)) = self.try_withdraw(renewal) {
            actor::withdraw_directly(node.clone(), renewal);
        }
    }

    fn try_withdraw(&self, renewal: Renewal) -> Result<(), (crate::mailbox::SendError, Renewal)> {
        let kept = renewal.clone();
        self.mailbox.send(RouterMsg::Withdraw(renewal)).map_err(|error| (error, kept))
    }
}
