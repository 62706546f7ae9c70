//! Nodes of one process hand messages to each other by a direct call. Must stay as thin as that: what a network adds
//! (deadlines, retries, breakers) belongs to the real link.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use mics_domain::message::Message;
use mics_domain::ports::{LinkError, LocalFuture, PeerLink};

/// What a node does with a message that another node hands over.
///
/// `deliver` never blocks. It answers, per user in the order given, how many live sessions of this node took the
/// message, and is safe to repeat.
pub trait LocalDelivery: Send + Sync {
    fn deliver(&self, message: &Message, users: &[Arc<str>]) -> Vec<u32>;
}

struct Peer {
    generation: u64,
    delivery: Arc<dyn LocalDelivery>,
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
    pub fn register(&self, endpoint: &str, delivery: Arc<dyn LocalDelivery>) -> LinkRegistration {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let endpoint: Arc<str> = endpoint.into();
        self.peers.insert(endpoint.clone(), Peer { generation, delivery });
        LinkRegistration { peers: Arc::downgrade(&self.peers), endpoint, generation }
    }
}

impl PeerLink for MemoryLink {
    fn forward<'a>(
        &'a self,
        endpoint: &'a str,
        message: &'a Message,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<u32>, LinkError>> {
        Box::pin(async move {
            // Copied out, so that a delivery may itself forward.
            let delivery = self.peers.get(endpoint).map(|peer| peer.delivery.clone());
            match delivery {
                Some(delivery) => Ok(delivery.deliver(message, users)),
                None => Err(LinkError::Unavailable(format!("no node at {endpoint}"))),
            }
        })
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
    use bytes::Bytes;
    use mics_domain::message::Kind;

    struct Online(Vec<&'static str>);

    impl LocalDelivery for Online {
        fn deliver(&self, _message: &Message, users: &[Arc<str>]) -> Vec<u32> {
            users.iter().map(|user| u32::from(self.0.contains(&&**user))).collect()
        }
    }

    fn message() -> Message {
        Message {
            tenant: "t".into(),
            user: "a".into(),
            device: "d".into(),
            msg_id: "m".into(),
            kind: Kind::Single,
            to_user: "b".into(),
            group: String::new(),
            body: Bytes::new(),
            timestamp_ms: 0,
            unknown_fields: Bytes::new(),
        }
    }

    #[tokio::test]
    async fn answers_per_user_in_the_order_asked() {
        let link = MemoryLink::new();
        let _node = link.register("http://n2", Arc::new(Online(vec!["b", "d"])));
        let users: [Arc<str>; 3] = ["b".into(), "c".into(), "d".into()];
        assert_eq!(link.forward("http://n2", &message(), &users).await, Ok(vec![1, 0, 1]));
    }

    #[tokio::test]
    async fn a_node_that_left_is_unavailable_and_a_new_one_at_its_place_is_not() {
        let link = MemoryLink::new();
        let users: [Arc<str>; 1] = ["b".into()];
        let first = link.register("http://n2", Arc::new(Online(vec![])));
        let second = link.register("http://n2", Arc::new(Online(vec!["b"])));
        drop(first);
        assert_eq!(link.clone().forward("http://n2", &message(), &users).await, Ok(vec![1]));
        drop(second);
        assert!(matches!(link.forward("http://n2", &message(), &users).await, Err(LinkError::Unavailable(_))));
    }
}
