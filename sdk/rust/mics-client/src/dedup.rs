//! Remembers recent deliveries so that one repeated by the gateway reaches the application once. Bounded.

use mics_proto::message::MessageRequest;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// The last `window` deliveries as 64-bit fingerprints, oldest forgotten first.
pub(crate) struct Dedup {
    window: usize,
    hasher: RandomState,
    seen: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Dedup {
    pub fn new(window: usize) -> Self {
        Self { window, hasher: RandomState::new(), seen: HashSet::new(), order: VecDeque::new() }
    }

    /// Names a delivery; none when it cannot be recognised (blank id, or switched off). Sender, device and msg_id name
    /// a message; target and body are part of the fingerprint because some clients restart their ids from "1".
    pub fn fingerprint(&self, m: &MessageRequest) -> Option<u64> {
        let key = (&m.user_id, &m.device_id, &m.msg_id, &m.to_user_id, &m.group_id, &m.msg_body);
        (self.window > 0 && !m.msg_id.is_empty()).then(|| self.hasher.hash_one(key))
    }

    /// True when this delivery was handed over before.
    pub fn knows(&self, print: Option<u64>) -> bool {
        print.is_some_and(|print| self.seen.contains(&print))
    }

    /// Tells that it was handed over.
    pub fn remember(&mut self, print: Option<u64>) {
        let Some(print) = print.filter(|&print| self.seen.insert(print)) else { return };
        self.order.push_back(print);
        if self.order.len() > self.window
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(user: &str, id: &str, body: &'static str) -> MessageRequest {
        MessageRequest { user_id: user.into(), msg_id: id.into(), msg_body: body.into(), ..Default::default() }
    }

    impl Dedup {
        fn is_repeated(&mut self, m: &MessageRequest) -> bool {
            let print = self.fingerprint(m);
            let known = self.knows(print);
            self.remember(print);
            known
        }
    }

    #[test]
    fn repeats_are_per_sender_and_content_and_the_memory_is_bounded() {
        let mut dedup = Dedup::new(2);
        assert!(!dedup.is_repeated(&message("a", "1", "x")));
        assert!(dedup.is_repeated(&message("a", "1", "x")));
        assert!(!dedup.is_repeated(&message("b", "1", "x")));
        assert!(!dedup.is_repeated(&message("a", "1", "other")));
        assert_eq!((dedup.seen.len(), dedup.order.len()), (2, 2));
        assert!(!dedup.is_repeated(&message("a", "1", "x")), "the oldest is forgotten");
    }

    #[test]
    fn blank_ids_and_a_zero_window_never_match() {
        let mut off = Dedup::new(0);
        assert!(!off.is_repeated(&message("a", "1", "x")) && !off.is_repeated(&message("a", "1", "x")));
        let mut on = Dedup::new(9);
        assert!(!on.is_repeated(&message("a", "", "x")) && !on.is_repeated(&message("a", "", "x")));
    }
}
