//! Which events were handled before: Kafka delivers at least once.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// Remembers handled events by their identity ([`crate::event::identity`]). Back it with your database when an event must
/// not be handled again after a restart either; a store that ignores repeated rows needs none.
pub trait SeenEvents: Send + Sync + 'static {
    fn is_seen(&self, identity: &str) -> bool;
    /// Called after the event was handled, before its offset is stored.
    fn mark(&self, identity: &str);
}

/// The last events of this process, in memory.
pub struct RecentEvents {
    capacity: usize,
    hasher: RandomState,
    seen: Mutex<(HashSet<u64>, VecDeque<u64>)>,
}

impl RecentEvents {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, hasher: RandomState::new(), seen: Mutex::default() }
    }
}

impl Default for RecentEvents {
    /// Remembers 100 000 events.
    fn default() -> Self {
        Self::new(100_000)
    }
}

impl SeenEvents for RecentEvents {
    fn is_seen(&self, identity: &str) -> bool {
        let print = self.hasher.hash_one(identity);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0.contains(&print)
    }

    fn mark(&self, identity: &str) {
        let print = self.hasher.hash_one(identity);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (prints, order) = &mut *seen;
        if prints.insert(print) {
            order.push_back(print);
        }
        if order.len() > self.capacity
            && let Some(oldest) = order.pop_front()
        {
            prints.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let seen = RecentEvents::new(2);
        for name in ["a", "b", "b", "c"] {
            seen.mark(name);
        }
        assert_eq!(["a", "b", "c"].map(|name| seen.is_seen(name)), [false, true, true]);
    }
}
