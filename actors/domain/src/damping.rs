//! Keeps two clients that share a device id from kicking each other for ever: newest wins, but a newcomer is refused for
//! a growing time when a device changes hands too often. It closes nothing itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// More replacements than this within `WINDOW_MS` are refused.
const MAX_REPLACEMENTS: usize = 3;
const WINDOW_MS: u64 = 10_000;
const FIRST_REFUSAL_MS: u64 = 1_000;
const LONGEST_REFUSAL_MS: u64 = 60_000;
/// Forgotten after this long without an attempt; longer than the longest refusal, so that waiting it out is no quiet.
const QUIET_MS: u64 = 2 * LONGEST_REFUSAL_MS;
const DEFAULT_MAX_KEYS: usize = 10_000;
const MIN_CAPACITY: usize = 256;

/// Refused; ms until the next attempt can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("device changes hands too often, retry after {0} ms")]
pub struct RetryAfterMs(pub u64);

#[derive(Debug, Default)]
struct Device {
    /// Times of the last replacements, oldest first.
    replaced: [Option<u64>; MAX_REPLACEMENTS],
    refused_until_ms: u64,
    /// Length of the last refusal; 0 = none yet.
    refusal_ms: u64,
    last_ms: u64,
    /// Key of this device in `by_use`.
    used: u64,
}

/// The devices replaced lately.
#[derive(Debug)]
pub struct Damping {
    max_keys: usize,
    devices: HashMap<Arc<str>, Device>,
    /// Devices by last attempt, oldest first.
    by_use: BTreeMap<u64, Arc<str>>,
    next_use: u64,
}

impl Default for Damping {
    fn default() -> Self {
        Damping::new(DEFAULT_MAX_KEYS)
    }
}

impl Damping {
    /// Watches at most `max_keys` devices (at least one); beyond that the one longest without an attempt is forgotten.
    pub fn new(max_keys: usize) -> Self {
        Damping { max_keys: max_keys.max(1), devices: HashMap::new(), by_use: BTreeMap::new(), next_use: 0 }
    }

    /// A newcomer wants to replace the live connection of `key` (user and device, joined unambiguously). `Ok` = it may.
    pub fn replaced(&mut self, key: &str, now_ms: u64) -> Result<(), RetryAfterMs> {
        self.forget_quiet(now_ms);
        let device = self.touch(key, now_ms);
        if now_ms < device.refused_until_ms {
            return Err(RetryAfterMs(device.refused_until_ms - now_ms));
        }
        if device.replaced[0].is_some_and(|oldest| now_ms.saturating_sub(oldest) < WINDOW_MS) {
            device.refusal_ms = (device.refusal_ms * 2).clamp(FIRST_REFUSAL_MS, LONGEST_REFUSAL_MS);
            device.refused_until_ms = now_ms.saturating_add(device.refusal_ms);
            return Err(RetryAfterMs(device.refusal_ms));
        }
        device.replaced.rotate_left(1);
        device.replaced[MAX_REPLACEMENTS - 1] = Some(now_ms);
        Ok(())
    }

    /// Devices watched now.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    fn touch(&mut self, key: &str, now_ms: u64) -> &mut Device {
        let name = match self.devices.get_key_value(key) {
            Some((name, device)) => {
                self.by_use.remove(&device.used);
                name.clone()
            }
            None => {
                if self.devices.len() >= self.max_keys
                    && let Some((_, oldest)) = self.by_use.pop_first()
                {
                    self.devices.remove(&oldest);
                }
                Arc::from(key)
            }
        };
        self.by_use.insert(self.next_use, name.clone());
        let device = self.devices.entry(name).or_default();
        (device.used, device.last_ms) = (self.next_use, now_ms);
        self.next_use += 1;
        device
    }

    fn forget_quiet(&mut self, now_ms: u64) {
        while let Some(oldest) = self.by_use.first_entry() {
            let last_ms = self.devices.get(oldest.get()).map_or(0, |device| device.last_ms);
            if now_ms.saturating_sub(last_ms) < QUIET_MS {
                break;
            }
            self.devices.remove(&oldest.remove());
        }
        if self.devices.capacity() > MIN_CAPACITY && self.devices.len() < self.devices.capacity() / 4 {
            self.devices.shrink_to(self.devices.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_replacements_in_ten_seconds_pass_and_the_fourth_is_refused() {
        let mut d = Damping::default();
        for now in [0, 100, 200] {
            assert_eq!(d.replaced("u/d", now), Ok(()));
        }
        assert_eq!(d.replaced("u/d", 300), Err(RetryAfterMs(1000)));
        assert_eq!(d.replaced("u/d", 900), Err(RetryAfterMs(400)));
        assert_eq!(d.replaced("u/other", 300), Ok(()));
    }

    #[test]
    fn replacements_spread_out_are_never_refused() {
        let mut d = Damping::default();
        for n in 0..100 {
            assert_eq!(d.replaced("u/d", n * 3_400), Ok(()), "replacement {n}");
        }
    }

    #[test]
    fn refusals_grow_to_a_minute_while_the_fight_goes_on() {
        let mut d = Damping::default();
        let (mut now, mut refusals, mut passed) = (0, vec![], 0);
        while refusals.len() < 9 {
            match d.replaced("u/d", now) {
                Ok(()) => passed += 1,
                Err(RetryAfterMs(ms)) => {
                    refusals.push(ms);
                    now += ms;
                }
            }
        }
        assert_eq!(refusals, [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]);
        assert!(passed < 20, "{passed} replacements in {now} ms");
    }

    #[test]
    fn quiet_forgets_the_device() {
        let mut d = Damping::default();
        for now in [0, 0, 0] {
            let _ = d.replaced("u/d", now);
        }
        assert_eq!(d.replaced("u/d", 0), Err(RetryAfterMs(1000)));
        assert_eq!(d.replaced("x", QUIET_MS), Ok(()));
        assert_eq!(d.len(), 1, "only the newcomer is watched");
        for _ in 0..3 {
            assert_eq!(d.replaced("u/d", QUIET_MS), Ok(()));
        }
        assert_eq!(d.replaced("u/d", QUIET_MS), Err(RetryAfterMs(1000)), "the growth starts again");
    }

    #[test]
    fn size_is_bounded_and_the_longest_unused_goes_first() {
        let mut d = Damping::new(3);
        for _ in 0..4 {
            let _ = d.replaced("fighter", 1);
        }
        for n in 0..100 {
            let _ = d.replaced(&format!("u{n}"), 2);
            assert!(d.replaced("fighter", 2).is_err());
            assert!(d.len() <= 3);
        }
    }
}
