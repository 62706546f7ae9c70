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
        if is_another(self.second, unix_second) {
            *self = RateWindow { second: unix_second, attempts: 0 };
        }
        self.attempts = self.attempts.saturating_add(1);
        if max == 0 || self.attempts <= max { Ok(()) } else { Err(RateExceeded { current: self.attempts, max }) }
    }
}

/// Whether the clock shows another window than the one being counted: a later one, or the clock was set back.
fn is_another(counted: u64, unix_second: u64) -> bool {
    unix_second > counted || counted - unix_second > CLOCK_SLACK_S
}

/// A node's part of a limit that all nodes share: taken from the common one in slices, so that most messages need not ask.
/// What a node took and did not use is nobody's: the limit is never exceeded, and may be missed by two slices per node.
#[derive(Debug, Default)]
pub struct Budget {
    second: u64,
    left: u32,
    exhausted: bool,
}

/// Whether a message may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spend {
    Granted,
    /// Nothing is left: [`Budget::wanted`] tells what to ask for.
    Empty,
    Exhausted,
}

/// What to take from the common limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    pub second: u64,
    pub want: u32,
}

impl Budget {
    /// Slices per second and node.
    const SLICES: u32 = 32;
    const MAX_SLICE: u32 = 256;

    /// A message that read the clock before its turn came lives on the budget of the second that has begun meanwhile:
    /// were it to go back, what was taken for that second would be lost, and with it the tenant's limit.
    pub fn spend(&mut self, unix_second: u64) -> Spend {
        if is_another(self.second, unix_second) {
            *self = Budget { second: unix_second, ..Budget::default() };
        }
        if self.left > 0 {
            self.left -= 1;
            return Spend::Granted;
        }
        if self.exhausted { Spend::Exhausted } else { Spend::Empty }
    }

    /// What to ask for, once less than half a slice is left: the answer should be there before the rest is spent.
    pub fn wanted(&self, max: u32) -> Option<Slice> {
        let want = (max / Self::SLICES).clamp(1, Self::MAX_SLICE);
        let low = self.left == 0 || self.left < want / 2;
        (low && !self.exhausted).then_some(Slice { second: self.second, want })
    }

    /// The common limit's answer.
    pub fn grant(&mut self, slice: Slice, granted: u32) {
        if slice.second == self.second {
            self.exhausted |= granted < slice.want;
            self.left = self.left.saturating_add(granted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 7;

    #[test]
    fn nodes_that_share_a_limit_never_exceed_it_and_seldom_ask() {
        for max in [1, 7, 100, 10_000] {
            let (mut common, mut asked) = (max, 0);
            let mut nodes = [Budget::default(), Budget::default(), Budget::default()];
            let mut passed = 0;
            for n in 0..3 * max as usize + 30 {
                let node = &mut nodes[n % 3];
                let mut spent = node.spend(SECOND);
                if let Some(slice) = node.wanted(max) {
                    asked += 1;
                    let got = slice.want.min(common);
                    common -= got;
                    node.grant(slice, got);
                }
                if spent == Spend::Empty {
                    spent = node.spend(SECOND);
                }
                passed += u32::from(spent == Spend::Granted);
            }
            assert_eq!(passed, max, "all of it and no more");
            assert!(asked <= 6 + max.min(64), "asked {asked} times for {max}");
        }
    }

    #[test]
    fn a_budget_does_not_outlive_its_second() {
        let mut budget = Budget::default();
        let slice = |second| Some(Slice { second, want: 2 });
        assert_eq!((budget.spend(1), budget.wanted(64)), (Spend::Empty, slice(1)));
        budget.grant(Slice { second: 1, want: 2 }, 2);
        assert_eq!((budget.spend(1), budget.wanted(64)), (Spend::Granted, None));
        assert_eq!((budget.spend(2), budget.wanted(64)), (Spend::Empty, slice(2)));
        budget.grant(Slice { second: 1, want: 2 }, 1);
        assert_eq!(budget.spend(2), Spend::Empty, "too late");
        budget.grant(Slice { second: 2, want: 2 }, 0);
        assert_eq!((budget.spend(2), budget.wanted(64)), (Spend::Exhausted, None));
        assert_eq!((budget.spend(3), budget.wanted(64)), (Spend::Empty, slice(3)));
    }

    #[test]
    fn more_is_wanted_before_the_rest_is_spent() {
        let mut budget = Budget::default();
        assert_eq!(budget.spend(SECOND), Spend::Empty);
        budget.grant(Slice { second: SECOND, want: 10 }, 10);
        for left in (0..10).rev() {
            assert_eq!(budget.spend(SECOND), Spend::Granted);
            assert_eq!(budget.wanted(320).is_some(), left < 5, "{left} left");
        }
    }

    #[test]
    fn messages_that_waited_into_the_next_second_do_not_throw_its_budget_away() {
        let mut budget = Budget::default();
        assert_eq!(budget.spend(7), Spend::Empty);
        budget.grant(Slice { second: 7, want: 10 }, 9);
        for second in [6, 7, 6, 5, 7, 6, 5, 7, 6] {
            assert_eq!(budget.spend(second), Spend::Granted, "of second {second}");
        }
        assert_eq!(budget.spend(6), Spend::Exhausted);
        assert_eq!(budget.spend(4), Spend::Empty, "the clock was set back");
    }

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
