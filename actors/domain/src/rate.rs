//! Messages per second, counted in windows of one wall-clock second. One counter for one key; it keeps no history and
//! shares nothing with other nodes.

/// How far the clock may seem to run back (callers read it before they get the lock) and still mean the same window.
const CLOCK_SLACK_S: u64 = 2;

/// The refusal, with what an operator wants to see in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{current} in this second, at most {max} are allowed")]
pub struct RateExceeded {
    /// Attempts in this second, this one and other refused ones included.
    pub current: u32,
    pub max: u32,
}

/// The counter of the current second.
#[derive(Debug, Default)]
pub struct RateWindow {
    second: u64,
    attempts: u32,
}

impl RateWindow {
    /// Counts one attempt in `unix_second`. `max` 0 = unlimited. A new second starts from nothing.
    pub fn admit(&mut self, unix_second: u64, max: u32) -> Result<(), RateExceeded> {
        let behind = self.second.saturating_sub(unix_second);
        if unix_second > self.second || behind > CLOCK_SLACK_S {
            *self = RateWindow { second: unix_second, attempts: 0 };
        }
        self.attempts = self.attempts.saturating_add(1);
        if max == 0 || self.attempts <= max { Ok(()) } else { Err(RateExceeded { current: self.attempts, max }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(window: &mut RateWindow, second: u64, max: u32, attempts: usize) -> usize {
        (0..attempts).filter(|_| window.admit(second, max).is_ok()).count()
    }

    #[test]
    fn each_second_admits_the_maximum_and_no_more() {
        let mut w = RateWindow::default();
        for second in [100, 101, 107] {
            assert_eq!(admitted(&mut w, second, 5, 20), 5, "second {second}");
        }
    }

    #[test]
    fn the_refusal_tells_the_current_value_and_the_limit() {
        let mut w = RateWindow::default();
        assert_eq!(w.admit(1, 1), Ok(()));
        assert_eq!(w.admit(1, 1), Err(RateExceeded { current: 2, max: 1 }));
        assert_eq!(w.admit(1, 1), Err(RateExceeded { current: 3, max: 1 }));
    }

    #[test]
    fn zero_is_unlimited() {
        assert_eq!(admitted(&mut RateWindow::default(), 1, 0, 1000), 1000);
    }

    #[test]
    fn a_clock_read_a_moment_early_does_not_open_a_new_window() {
        let mut w = RateWindow::default();
        assert_eq!(admitted(&mut w, 101, 3, 3), 3);
        assert_eq!(admitted(&mut w, 100, 3, 3), 0);
        assert_eq!(admitted(&mut w, 101, 3, 3), 0);
    }

    #[test]
    fn a_clock_set_back_does_not_block_for_long() {
        let mut w = RateWindow::default();
        assert_eq!(admitted(&mut w, 10_000, 3, 9), 3);
        assert_eq!(admitted(&mut w, 5_000, 3, 9), 3);
    }

    #[test]
    fn a_maximum_changed_within_the_second_counts_at_once() {
        let mut w = RateWindow::default();
        assert_eq!(admitted(&mut w, 1, 2, 3), 2);
        assert_eq!(admitted(&mut w, 1, 5, 9), 2, "three of five were used up");
    }
}
