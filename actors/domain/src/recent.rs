//! What happened to recent deliveries, per user: so that a repeated one is answered as before and reaches nobody twice.
//! Bounded by count; forgets the oldest. Keeps hashes, no names.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use crate::delivery::DeliveryId;

/// Remembers a number per (user, delivery).
#[derive(Debug)]
pub struct Recent {
    max: usize,
    hasher: RandomState,
    known: HashMap<u64, u32>,
    order: VecDeque<u64>,
}

impl Recent {
    pub fn new(max: usize) -> Self {
        Recent { max: max.max(1), hasher: RandomState::new(), known: HashMap::new(), order: VecDeque::new() }
    }

    pub fn get(&self, user: &str, id: DeliveryId) -> Option<u32> {
        self.known.get(&self.hasher.hash_one((user, id))).copied()
    }

    /// The first value stays.
    pub fn remember(&mut self, user: &str, id: DeliveryId, value: u32) {
        let key = self.hasher.hash_one((user, id));
        if self.known.contains_key(&key) {
            return;
        }
        if self.order.len() >= self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(key, value);
        self.order.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_first_answer_and_forgets_the_oldest() {
        let mut recent = Recent::new(2);
        recent.remember("u", 1, 7);
        recent.remember("u", 1, 8);
        recent.remember("v", 1, 9);
        assert_eq!((recent.get("u", 1), recent.get("v", 1), recent.get("u", 2)), (Some(7), Some(9), None));
        recent.remember("u", 2, 0);
        assert_eq!((recent.get("u", 1), recent.get("u", 2)), (None, Some(0)));
        assert_eq!((recent.known.len(), recent.order.len()), (2, 2));
    }
}
