//! Says when a line may be logged again, so that what happens a thousand times a second is told once in a while, with how
//! often it happened meanwhile. Must not log anything itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// At most one line about the same thing in this time.
const EVERY_MS: u64 = 5_000;

/// What was told, and when.
pub struct Quiet<K>(Mutex<HashMap<K, Told>>);

struct Told {
    at_ms: u64,
    /// Lines that were held back since.
    suppressed: u64,
}

impl<K> Default for Quiet<K> {
    fn default() -> Self {
        Quiet(Mutex::default())
    }
}

impl<K: Eq + Hash> Quiet<K> {
    /// `None`: not now. Else log it, with how many lines about the same thing were held back since the last.
    pub fn due(&self, about: K, now_ms: u64) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&about) {
            Some(told) if now_ms < told.at_ms + EVERY_MS => {
                told.suppressed += 1;
                None
            }
            Some(told) => {
                told.at_ms = now_ms;
                Some(std::mem::take(&mut told.suppressed))
            }
            None => {
                all.insert(about, Told { at_ms: now_ms, suppressed: 0 });
                Some(0)
            }
        }
    }

    /// Forgets what it is no more asked about.
    pub fn retain(&self, stays: impl Fn(&K) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|about, _| stays(about));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_the_next_after_a_while_with_how_many_there_were() {
        let quiet = Quiet::default();
        assert_eq!(quiet.due("a", 1_000), Some(0));
        assert_eq!((quiet.due("a", 1_001), quiet.due("a", 5_999)), (None, None));
        assert_eq!(quiet.due("b", 2_000), Some(0), "something else");
        assert_eq!((quiet.due("a", 6_000), quiet.due("a", 6_001), quiet.due("a", 11_000)), (Some(2), None, Some(1)));
    }
}
