//! Where recipients are, and how to reach other nodes: one router per worker thread stands between the flow and the
//! directory and peer links. On a node that stands alone every answer is "nowhere else", without a hop.

mod actor;
mod cache;
mod message;

use std::cell::RefCell;
use std::sync::Arc;

use mics_domain::delivery::Delivery;
use mics_domain::ports::{Lease, LinkError, PeerAnswer, PeerCall, Route};
use tokio::sync::oneshot;

use crate::mailbox::Mailbox;
use crate::node::Node;

pub use actor::register_all;
pub(crate) use actor::replace;
pub use cache::RouteCache;
pub use message::RouterMsg;

/// A router as its thread sees it.
#[derive(Clone)]
pub struct Router {
    mailbox: Mailbox<RouterMsg>,
    node: Arc<Node>,
    nobody: Arc<[Route]>,
}

/// How old a route may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    Cached,
    /// Asked of the directory now.
    Fresh,
}

thread_local! {
    static CURRENT: RefCell<Vec<(usize, Router)>> = const { RefCell::new(Vec::new()) };
}

/// A failed call in the words of gRPC status labels.
pub fn status(error: &LinkError) -> &'static str {
    match error {
        LinkError::Unavailable(_) | LinkError::CircuitOpen => "Unavailable",
        LinkError::Deadline => "DeadlineExceeded",
        LinkError::Unauthenticated => "Unauthenticated",
        LinkError::Refused(_) => "Unknown",
    }
}

/// Mostly all of them stay, and nothing is copied.
fn retain(routes: Arc<[Route]>, stays: impl Fn(&Route) -> bool) -> Arc<[Route]> {
    if routes.iter().all(&stays) { routes } else { routes.iter().filter(|route| stays(route)).cloned().collect() }
}

impl Router {
    /// This thread's router of the node, started at first use.
    pub fn current(node: &Arc<Node>) -> Router {
        let key = Arc::as_ptr(node) as usize;
        if let Some(router) = CURRENT.with_borrow(|all| all.iter().find(|(k, _)| *k == key).map(|(_, r)| r.clone())) {
            return router;
        }
        let router = Router { mailbox: actor::start(node), node: node.clone(), nobody: [].into() };
        CURRENT.with_borrow_mut(|all| all.push((key, router.clone())));
        router
    }

    /// Routes of each user on **other** live nodes, in the order asked. `None`: the directory had to be asked and is away,
    /// and not even old routes were known of anybody.
    pub async fn elsewhere(
        &self,
        tenant: &Arc<str>,
        users: &[Arc<str>],
        freshness: Freshness,
    ) -> Option<Vec<Arc<[Route]>>> {
        let found = self.elsewhere_or_dead(tenant, users, freshness).await?;
        Some(found.into_iter().map(|routes| retain(routes, |route| !self.node.members.is_dead(&route.at))).collect())
    }

    /// The same with routes on nodes that are thought dead: such a node may have stood still and come back.
    pub async fn elsewhere_or_dead(
        &self,
        tenant: &Arc<str>,
        users: &[Arc<str>],
        freshness: Freshness,
    ) -> Option<Vec<Arc<[Route]>>> {
        if self.node.directory.standalone() {
            return Some(vec![self.nobody.clone(); users.len()]);
        }
        let cache = &self.node.routes;
        let mut found: Vec<Option<Arc<[Route]>>> = match freshness {
            Freshness::Cached => users.iter().map(|user| cache.get(tenant, user)).collect(),
            Freshness::Fresh => vec![None; users.len()],
        };
        let missing: Vec<usize> = (0..users.len()).filter(|index| found[*index].is_none()).collect();
        if freshness == Freshness::Cached {
            cache.count(users.len() - missing.len(), missing.len());
        }
        if !missing.is_empty() {
            let asked: Vec<Arc<str>> = missing.iter().map(|index| users[*index].clone()).collect();
            match self.look_up(tenant, asked).await {
                Some(routes) => missing.iter().zip(routes).for_each(|(index, routes)| found[*index] = Some(routes)),
                None if freshness == Freshness::Fresh => return None,
                None => missing.iter().for_each(|index| found[*index] = cache.stale(tenant, &users[*index])),
            }
        }
        let elsewhere = |route: &Route| route.at.node != self.node.id;
        Some(found.into_iter().map(|routes| routes.map_or(self.nobody.clone(), |r| retain(r, elsewhere))).collect())
    }

    async fn look_up(&self, tenant: &Arc<str>, users: Vec<Arc<str>>) -> Option<Vec<Arc<[Route]>>> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(RouterMsg::LookUp { tenant: tenant.clone(), users, reply }).ok()?;
        answer.await.ok()?
    }

    /// Hands a message to the node at `endpoint`; answers how many sessions took it, per user.
    pub async fn forward(
        &self,
        endpoint: &Arc<str>,
        delivery: &Arc<Delivery>,
        users: Vec<Arc<str>>,
    ) -> Result<Vec<u32>, LinkError> {
        let (reply, answer) = oneshot::channel();
        let (endpoint, delivery) = (endpoint.clone(), delivery.clone());
        self.ask(RouterMsg::Forward { endpoint, delivery, users, reply })?;
        answer.await.unwrap_or_else(|_| Err(LinkError::Unavailable("router ended".into())))
    }

    /// Asks the node at `endpoint` for something.
    pub async fn call(&self, endpoint: &Arc<str>, call: PeerCall) -> Result<PeerAnswer, LinkError> {
        let (reply, answer) = oneshot::channel();
        self.ask(RouterMsg::Call { endpoint: endpoint.clone(), call, reply })?;
        answer.await.unwrap_or_else(|_| Err(LinkError::Unavailable("router ended".into())))
    }

    fn ask(&self, message: RouterMsg) -> Result<(), LinkError> {
        self.mailbox.send(message).map_err(|_| LinkError::Unavailable("router busy".into()))
    }

    /// Prolongs a session's lease; batched.
    pub fn renew(&self, lease: Lease) {
        let _ = self.mailbox.send(RouterMsg::Renew(lease));
    }

    /// Withdraws a route, in the background, batched, with retries. Never loses one to a full mailbox.
    pub fn withdraw(&self, lease: Lease) {
        if self.mailbox.send(RouterMsg::Withdraw(lease.clone())).is_err() {
            actor::withdraw(self.node.clone(), vec![lease]);
        }
    }
}
