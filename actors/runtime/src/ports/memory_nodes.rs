//! Which nodes of a process-wide cluster gave a sign of life, for the directory in memory. It decides and remembers; it
//! never reads a clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mics_domain::ports::{Announced, Peer};
use tokio::time::Instant;

/// Every incarnation that has not been buried, with the end of its last sign of life.
#[derive(Default)]
pub(super) struct Nodes {
    known: BTreeMap<(Arc<str>, u64), (Peer, Instant)>,
}

fn key(peer: &Peer) -> (Arc<str>, u64) {
    (peer.node.clone(), peer.boot)
}

impl Nodes {
    pub(super) fn announce(&mut self, me: &Peer, ttl: Duration, now: Instant, now_ms: i64) -> Announced {
        let remembered = self.is_live(me, now);
        for (peer, until) in self.known.values_mut().filter(|(peer, _)| peer.node == me.node) {
            if peer.boot != me.boot {
                *until = now.min(*until);
            }
        }
        self.known.insert(key(me), (me.clone(), now + ttl));
        let (live, dead): (Vec<_>, Vec<_>) = self.known.values().partition(|(_, until)| *until > now);
        let peers = |entries: Vec<&(Peer, Instant)>| entries.into_iter().map(|(peer, _)| peer.clone()).collect();
        Announced { remembered, live: peers(live), dead: peers(dead), now_ms }
    }

    pub(super) fn live(&self, now: Instant) -> Vec<Peer> {
        self.known.values().filter(|(_, until)| *until > now).map(|(peer, _)| peer.clone()).collect()
    }

    pub(super) fn is_live(&self, peer: &Peer, now: Instant) -> bool {
        self.known.get(&key(peer)).is_some_and(|(_, until)| *until > now)
    }

    /// True when it was live.
    pub(super) fn leave(&mut self, me: &Peer, now: Instant) -> bool {
        let live = self.is_live(me, now);
        if let Some((_, until)) = self.known.get_mut(&key(me)) {
            *until = now.min(*until);
        }
        live
    }

    pub(super) fn forget(&mut self, dead: &Peer, now: Instant) {
        if !self.is_live(dead, now) {
            self.known.remove(&key(dead));
        }
    }
}
