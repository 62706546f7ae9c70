//! How long to wait before the next attempt to connect. Pure arithmetic; randomness comes from the caller.

use crate::error::CloseAction;
use crate::options::MicsClientOptions;
use rand::Rng;
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempt: u32,
    limited: u32,
}

impl Backoff {
    /// The pause before the next attempt. Full jitter (anything from nothing to the doubling ceiling) spreads the
    /// clients of a node that went away; after a refusal for its limit at least half of the long pause is kept.
    pub fn next(&mut self, action: CloseAction, options: &MicsClientOptions, rng: &mut impl Rng) -> Duration {
        if action == CloseAction::RetryLater {
            let base = options.limited_delay;
            let ceiling = (base * 2u32.pow(self.limited.min(4))).min(base * 12);
            self.limited += 1;
            return ceiling / 2 + (ceiling / 2).mul_f64(rng.random::<f64>());
        }
        let ceiling = options.reconnect_min_delay.saturating_mul(2u32.pow(self.attempt.min(16)));
        self.attempt += 1;
        ceiling.min(options.reconnect_max_delay).mul_f64(rng.random::<f64>())
    }

    /// Forgets earlier failures; called once a connection has proved stable.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn pauses_are_jittered_and_bounded() {
        let (options, mut rng) = (MicsClientOptions::default(), StdRng::seed_from_u64(7));
        for attempt in 0..12u32 {
            let ceiling = Duration::from_millis(200 * 2u64.pow(attempt)).min(Duration::from_secs(5));
            let pauses: Vec<_> = (0..200)
                .map(|_| Backoff { attempt, limited: 0 }.next(CloseAction::Retry, &options, &mut rng))
                .collect();
            assert!(pauses.iter().all(|p| *p <= ceiling));
            assert!(pauses.iter().any(|p| *p < ceiling / 4) && pauses.iter().any(|p| *p > ceiling / 2));
        }
    }

    #[test]
    fn a_limit_means_a_long_pause() {
        let (options, mut rng) = (MicsClientOptions::default(), StdRng::seed_from_u64(7));
        let mut backoff = Backoff::default();
        let first = backoff.next(CloseAction::RetryLater, &options, &mut rng);
        assert!(first >= Duration::from_millis(2500) && first <= Duration::from_secs(5));
        for _ in 0..10 {
            let pause = backoff.next(CloseAction::RetryLater, &options, &mut rng);
            assert!(pause >= Duration::from_secs(5) && pause <= Duration::from_secs(60));
        }
    }
}
