//! Other nodes that announce this node's endpoint as theirs: a copied configuration, whose messages end up here. Must not
//! mistake a dead node for one: its successor, perhaps under a new id, has the endpoint before it is forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mics_domain::ports::Peer;
use tokio::time::Instant;

use super::ANNOUNCE_TTL;

/// Seen together for longer than this, both live: nobody is thought to live that long after his death.
const BOTH_LIVE: Duration = ANNOUNCE_TTL.saturating_mul(2);
/// Between two lines about the same node.
const AGAIN: Duration = Duration::from_secs(60);

/// When to speak of each of them.
#[derive(Default)]
pub struct Doubles(BTreeMap<(Arc<str>, u64), Instant>);

impl Doubles {
    /// Those of `live` of whom it is time to speak.
    pub fn due<'a>(&mut self, me: &Peer, live: &'a [Peer], now: Instant) -> Vec<&'a Peer> {
        let same = |peer: &&Peer| peer.node != me.node && bare(&peer.endpoint) == bare(&me.endpoint);
        let doubles: Vec<&Peer> = live.iter().filter(same).collect();
        self.0.retain(|(node, boot), _| doubles.iter().any(|peer| peer.node == *node && peer.boot == *boot));
        let due = |peer: &&Peer| {
            let at = self.0.entry((peer.node.clone(), peer.boot)).or_insert(now + BOTH_LIVE);
            let due = *at <= now;
            if due {
                *at = now + AGAIN;
            }
            due
        };
        doubles.into_iter().filter(due).collect()
    }
}

fn bare(endpoint: &str) -> &str {
    endpoint.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: &str, boot: u64, endpoint: &str) -> Peer {
        Peer { node: node.into(), boot, endpoint: endpoint.into() }
    }

    fn names(peers: Vec<&Peer>) -> Vec<&str> {
        peers.into_iter().map(|peer| &*peer.node).collect()
    }

    #[test]
    fn who_lives_at_the_same_endpoint_is_spoken_of_after_a_while_and_now_and_then() {
        let (me, now) = (peer("a", 1, "http://x:1"), Instant::now());
        let live = [me.clone(), peer("b", 1, "http://x:1/"), peer("c", 1, "http://x:2")];
        let mut doubles = Doubles::default();
        let mut at = |ms: u64| names(doubles.due(&me, &live, now + Duration::from_millis(ms)));
        assert!(at(0).is_empty() && at(9_999).is_empty());
        assert_eq!(at(10_000), ["b"]);
        assert!(at(11_500).is_empty() && at(69_999).is_empty());
        assert_eq!(at(70_000), ["b"]);
    }

    #[test]
    fn a_dead_predecessor_is_none_nor_is_this_node_itself() {
        let (me, now) = (peer("new", 7, "http://x:1"), Instant::now());
        let both = [me.clone(), peer("old", 1, "http://x:1"), peer("new", 6, "http://x:1")];
        let mut doubles = Doubles::default();
        let mut at = |seconds: u64, live| names(doubles.due(&me, live, now + Duration::from_secs(seconds)));
        assert!(at(0, &both[..]).is_empty() && at(9, &both[..]).is_empty());
        // Gone for a moment: counted from the start again.
        assert!(at(9, &both[..1]).is_empty() && at(12, &both[..]).is_empty() && at(21, &both[..]).is_empty());
    }
}
