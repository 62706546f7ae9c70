//! Nodes of one process hand messages to each other by a direct call. Must stay as thin as that: what a network adds
//! (deadlines, retries, breakers) belongs to the real link.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use mics_domain::delivery::Delivery;
use mics_domain::ports::{LinkError, LocalFuture, PeerAnswer, PeerCall, PeerLink};

/// A node as other nodes use it: the far end of a [`PeerLink`], which see for the promises. Never blocks.
pub trait PeerNode: Send + Sync {
    /// Per user in the order given: how many live sessions of this node took the message.
    fn deliver(&self, delivery: &Delivery, users: &[Arc<str>]) -> Vec<u32>;

    fn answer(&self, call: PeerCall) -> PeerAnswer;
}

struct Peer {
    generation: u64,
    node: Arc<dyn PeerNode>,
}

type Peers = DashMap<Arc<str>, Peer>;

/// Clones share the same nodes.
#[derive(Clone, Default)]
pub struct MemoryLink {
    peers: Arc<Peers>,
    generations: Arc<AtomicU64>,
}

impl MemoryLink {
    pub fn new() -> Self {
        Self::default()
    }

    /// The node at `endpoint` is reachable as long as the registration is held, or until another one takes its place.
    pub fn register(&self, endpoint: &str, node: Arc<dyn PeerNode>) -> LinkRegistration {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let endpoint: Arc<str> = endpoint.into();
        self.peers.insert(endpoint.clone(), Peer { generation, node });
        LinkRegistration { peers: Arc::downgrade(&self.peers), endpoint, generation }
    }
}

impl MemoryLink {
    /// The node at `endpoint` can no longer be reached, as after a crash.
    pub fn cut(&self, endpoint: &str) {
        self.peers.remove(endpoint);
    }

    /// Copied out, so that the node may itself use the link.
    fn peer(&self, endpoint: &str) -> Result<Arc<dyn PeerNode>, LinkError> {
        let found = self.peers.get(endpoint).map(|peer| peer.node.clone());
        found.ok_or_else(|| LinkError::Unavailable(format!("no node at {endpoint}")))
    }
}

impl PeerLink for MemoryLink {
    fn forward<'a>(
        &'a self,
        endpoint: &'a str,
        delivery: &'a Delivery,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<u32>, LinkError>> {
        Box::pin(async move { Ok(self.peer(endpoint)?.deliver(delivery, users)) })
    }

    fn call<'a>(&'a self, endpoint: &'a str, call: PeerCall) -> LocalFuture<'a, Result<PeerAnswer, LinkError>> {
        Box::pin(async move { Ok(self.peer(endpoint)?.answer(call)) })
    }
}

/// Ends a node's reachability when dropped.
#[must_use = "the node is unreachable once this is dropped"]
pub struct LinkRegistration {
    peers: Weak<Peers>,
    endpoint: Arc<str>,
    generation: u64,
}

impl Drop for LinkRegistration {
    fn drop(&mut self) {
        if let Some(peers) = self.peers.upgrade() {
            peers.remove_if(&self.endpoint, |_, peer| peer.generation == self.generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::link as contract;
    use bytes::Bytes;

    struct Online(Vec<&'static str>);

    impl PeerNode for Online {
        fn deliver(&self, _delivery: &Delivery, users: &[Arc<str>]) -> Vec<u32> {
            users.iter().map(|user| u32::from(self.0.contains(&&**user))).collect()
        }

        fn answer(&self, _call: PeerCall) -> PeerAnswer {
            PeerAnswer::Done
        }
    }

    fn delivery() -> Delivery {
        Delivery { tenant: "t".into(), id: 1, request: Bytes::new(), shared: false, trace: None }
    }

    #[tokio::test]
    async fn keeps_the_contract_of_the_port() {
        contract::run_all(|node| async move {
            let link = MemoryLink::new();
            let held = Box::new(link.register("http://n2", node));
            contract::Linked { link, endpoint: "http://n2".to_owned(), held }
        })
        .await;
    }

    #[tokio::test]
    async fn a_node_that_left_is_unavailable_and_a_new_one_at_its_place_is_not() {
        let link = MemoryLink::new();
        let users: [Arc<str>; 1] = ["b".into()];
        let first = link.register("http://n2", Arc::new(Online(vec![])));
        let second = link.register("http://n2", Arc::new(Online(vec!["b"])));
        drop(first);
        assert_eq!(link.clone().forward("http://n2", &delivery(), &users).await, Ok(vec![1]));
        drop(second);
        assert!(matches!(link.forward("http://n2", &delivery(), &users).await, Err(LinkError::Unavailable(_))));
    }
}
