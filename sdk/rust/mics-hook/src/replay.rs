//! Remembers requests for as long as they are fresh, so that a recorded one can't be sent again. Bounded; reads no clock.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// Request ids as 64-bit fingerprints with a secret key, in the order in which they came.
pub(crate) struct ReplayCache {
    capacity: usize,
    keep_ms: i64,
    hasher: RandomState,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    prints: HashSet<u64>,
    order: VecDeque<(i64, u64)>,
}

impl ReplayCache {
    /// Keeps at most `capacity` requests, each for `keep_ms`.
    pub fn new(capacity: usize, keep_ms: i64) -> Self {
        Self { capacity, keep_ms, hasher: RandomState::new(), seen: Mutex::default() }
    }

    /// True when this request is new. Only verified requests may come here: others could fill the memory.
    pub fn admit(&self, tenant: &str, request_id: &str, now_ms: i64) -> bool {
        let print = self.hasher.hash_one((tenant, request_id));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&(at, oldest)) = seen.order.front()
            && (now_ms - at > self.keep_ms || seen.order.len() >= self.capacity)
        {
            seen.order.pop_front();
            seen.prints.remove(&oldest);
        }
        if !seen.prints.insert(print) {
            return false;
        }
        seen.order.push_back((now_ms, print));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_admitted_once_within_its_time() {
        let cache = ReplayCache::new(9, 1000);
        assert!(cache.admit("t1", "r1", 0));
        assert!(!cache.admit("t1", "r1", 1000));
        assert!(cache.admit("t2", "r1", 1000), "ids are per tenant");
        assert!(cache.admit("t1", "r1", 1001), "forgotten after its time");
    }

    #[test]
    fn the_memory_is_bounded() {
        let cache = ReplayCache::new(2, 1000);
        for id in ["a", "b", "c"] {
            assert!(cache.admit("t1", id, 0));
        }
        assert!(!cache.admit("t1", "c", 0) && cache.admit("t1", "a", 0));
        let seen = cache.seen.lock().unwrap();
        assert!(seen.order.len() <= 2 && seen.prints.len() == seen.order.len());
    }
}
