//! Counted permits with waiters served in order of arrival. It holds no timer and wakes nobody itself: who is to be
//! woken is returned, and the caller does it after leaving the lock.
//!
//! Use: `try_take`; when it says no, `wait` under the same lock; on time-out `cancel`. The maximum is given with each
//! call and the latest one counts, so a changed policy applies at once. A maximum of 0 counts as 1.

use std::collections::BTreeMap;

/// Names a waiter, for `cancel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterKey(u64);

/// Permits in flight and a FIFO of waiters `W` (in practice: the sending half of a one-shot channel).
#[derive(Debug)]
pub struct Permits<W> {
    in_flight: u32,
    waiters: BTreeMap<WaiterKey, W>,
    next_key: u64,
}

impl<W> Default for Permits<W> {
    fn default() -> Self {
        Permits { in_flight: 0, waiters: BTreeMap::new(), next_key: 0 }
    }
}

impl<W> Permits<W> {
    /// Takes a permit when one is free and nobody waits for it.
    pub fn try_take(&mut self, max: u32) -> bool {
        let free = self.waiters.is_empty() && self.in_flight < max.max(1);
        self.in_flight += u32::from(free);
        free
    }

    /// Queues `waiter` behind those already waiting. Only right after a refused `try_take`.
    pub fn wait(&mut self, waiter: W) -> WaiterKey {
        let key = WaiterKey(self.next_key);
        self.next_key += 1;
        self.waiters.insert(key, waiter);
        key
    }

    /// Stops waiting. False when the waiter is not queued (any more): it was handed a permit, which must be given back.
    pub fn cancel(&mut self, key: WaiterKey) -> bool {
        self.waiters.remove(&key).is_some()
    }

    /// Gives one permit back. The returned waiters hold a permit each from now on.
    pub fn give_back(&mut self, max: u32) -> Vec<W> {
        debug_assert!(self.in_flight > 0, "a permit was given back twice");
        self.in_flight = self.in_flight.saturating_sub(1);
        self.serve(max)
    }

    /// Hands free permits to waiters, first come first served: for a maximum that was raised while some wait.
    pub fn serve(&mut self, max: u32) -> Vec<W> {
        let mut served = Vec::new();
        while self.in_flight < max.max(1) {
            let Some((_, waiter)) = self.waiters.pop_first() else { break };
            self.in_flight += 1;
            served.push(waiter);
        }
        served
    }

    /// Permits out now; above the maximum for a while when that was lowered.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn full(max: u32, waiters: &[&'static str]) -> (Permits<&'static str>, Vec<WaiterKey>) {
        let mut p = Permits::default();
        for _ in 0..max {
            assert!(p.try_take(max));
        }
        assert!(!p.try_take(max));
        let keys = waiters.iter().map(|w| p.wait(*w)).collect();
        (p, keys)
    }

    #[test]
    fn permits_go_to_waiters_in_order_of_arrival() {
        let (mut p, _) = full(2, &["a", "b", "c"]);
        assert_eq!(p.give_back(2), ["a"]);
        assert_eq!(p.give_back(2), ["b"]);
        assert_eq!((p.in_flight(), p.waiting()), (2, 1));
    }

    #[test]
    fn new_takers_do_not_overtake_waiters() {
        let (mut p, _) = full(1, &["a"]);
        assert!(!p.try_take(5), "there is room by the new maximum, but it belongs to the waiter");
        assert_eq!(p.serve(5), ["a"]);
        assert!(p.try_take(5));
    }

    #[test]
    fn a_cancelled_waiter_is_skipped_and_a_served_one_cannot_cancel() {
        let (mut p, keys) = full(1, &["a", "b"]);
        assert!(p.cancel(keys[0]));
        assert_eq!(p.give_back(1), ["b"]);
        assert!(!p.cancel(keys[1]));
        assert_eq!((p.in_flight(), p.waiting()), (1, 0));
    }

    #[test]
    fn the_latest_maximum_counts_up_and_down() {
        let (mut p, _) = full(2, &["a", "b", "c"]);
        assert_eq!(p.give_back(4), ["a", "b", "c"]);
        assert!(p.give_back(1).is_empty());
        assert!(!p.try_take(3));
        assert_eq!(p.in_flight(), 3);
        let _ = (p.give_back(1), p.give_back(1), p.give_back(1));
        assert!(p.try_take(1) && !p.try_take(1));
    }

    #[test]
    fn maximum_zero_counts_as_one() {
        let (mut p, _) = full(1, &["a"]);
        assert_eq!(p.give_back(0), ["a"]);
    }

    proptest! {
        #[test]
        fn never_over_the_maximum_and_always_first_come_first_served(
            ops in prop::collection::vec((0u8..3, any::<usize>()), 1..200), max in 1u32..5,
        ) {
            let mut p = Permits::default();
            let (mut queue, mut held, mut next) = (VecDeque::new(), 0u32, 0u32);
            for (op, n) in ops {
                match op {
                    0 => if p.try_take(max) {
                        prop_assert!(queue.is_empty());
                        held += 1;
                    } else {
                        queue.push_back((p.wait(next), next));
                        next += 1;
                    },
                    1 if held > 0 => {
                        held -= 1;
                        for got in p.give_back(max) {
                            prop_assert_eq!(Some(got), queue.pop_front().map(|(_, w)| w));
                            held += 1;
                        }
                    }
                    2 if !queue.is_empty() => {
                        let (key, _) = queue.remove(n % queue.len()).unwrap();
                        prop_assert!(p.cancel(key));
                    }
                    _ => {}
                }
                prop_assert!(p.in_flight() <= max);
                prop_assert_eq!((p.in_flight(), p.waiting()), (held, queue.len()));
                prop_assert!(queue.is_empty() || held == max, "somebody waits although a permit is free");
            }
        }
    }
}
