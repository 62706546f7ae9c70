//! Which signed requests were here before. Bounded per tenant, so that none can use up another's room. Pure.

use std::collections::HashMap;
use std::sync::Arc;

/// Nonces of one tenant that are remembered: 160 requests a second for two minutes.
const PER_TENANT: usize = 20_000;

/// Whether a nonce is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Now,
    Before,
    /// Nothing more can be remembered: it must not be accepted.
    NoRoom,
}

#[derive(Default)]
pub struct Nonces {
    /// Until when each is remembered, by tenant.
    known: HashMap<Arc<str>, HashMap<String, u64>>,
    sweep_at_ms: u64,
}

impl Nonces {
    /// Takes a nonce of a tenant, remembered until `now_ms + keep_ms`.
    pub fn take(&mut self, tenant: &Arc<str>, nonce: &str, now_ms: u64, keep_ms: u64) -> Taken {
        if now_ms >= self.sweep_at_ms {
            self.sweep(now_ms);
            self.sweep_at_ms = now_ms + keep_ms;
        }
        let known = self.known.entry(tenant.clone()).or_default();
        if known.len() >= PER_TENANT {
            known.retain(|_, until| *until > now_ms);
        }
        match known.get(nonce) {
            Some(until) if *until > now_ms => Taken::Before,
            None if known.len() >= PER_TENANT => Taken::NoRoom,
            _ => {
                known.insert(nonce.to_owned(), now_ms + keep_ms);
                Taken::Now
            }
        }
    }

    /// A tenant that asked a lot once, or was removed, keeps no memory.
    fn sweep(&mut self, now_ms: u64) {
        self.known.retain(|_, known| {
            known.retain(|_, until| *until > now_ms);
            known.shrink_to_fit();
            !known.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_in_its_time_and_room_is_each_tenants_own() {
        let (mut nonces, a, b): (Nonces, Arc<str>, Arc<str>) = (Nonces::default(), "a".into(), "b".into());
        assert_eq!(nonces.take(&a, "n", 0, 100), Taken::Now);
        assert_eq!(nonces.take(&a, "n", 99, 100), Taken::Before);
        assert_eq!(nonces.take(&b, "n", 99, 100), Taken::Now);
        assert_eq!(nonces.take(&a, "n", 100, 100), Taken::Now, "its time was up");
        for n in 1..PER_TENANT {
            assert_eq!(nonces.take(&a, &format!("m{n}"), 150, 100), Taken::Now);
        }
        assert_eq!(nonces.take(&a, "one more", 150, 100), Taken::NoRoom);
        assert_eq!(nonces.take(&a, "n", 150, 100), Taken::Before);
        assert_eq!(nonces.take(&b, "one more", 150, 100), Taken::Now);
        assert_eq!(nonces.take(&a, "one more", 250, 100), Taken::Now, "the old ones have made room");
        assert_eq!(nonces.take(&b, "later", 400, 100), Taken::Now);
        assert_eq!(nonces.known.values().map(HashMap::len).sum::<usize>(), 1, "no old ones are left");
    }
}
