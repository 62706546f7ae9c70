//! Thresholds of pushed values: four strategies with exact arithmetic (contract 3.4).

use super::ThresholdStrategy;
use super::state::Outcome;

/// The bounds and strategy of a metric monitor. Bounds are inclusive: the bound itself is in range.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub strategy: ThresholdStrategy,
    /// Readings, for ConsecutiveCount.
    pub count: Option<i64>,
    /// Seconds, for TimeDurationAverage.
    pub window_seconds: Option<i64>,
    /// Readings, for SampleCountAverage.
    pub window_samples: Option<i64>,
}

/// Which readings a strategy looks at, the newest one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Readings(i64),
    /// Readings of (now - seconds, now].
    Seconds(i64),
}

/// What a strategy says of the newest reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Violation,
    InRange,
    /// Out of range, but not (yet) often enough: no change of state.
    Undecided,
}

impl Verdict {
    pub const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Violation => Some(Outcome::Failure),
            Self::InRange => Some(Outcome::Success),
            Self::Undecided => None,
        }
    }
}

impl Thresholds {
    pub fn out_of_range(&self, value: f64) -> bool {
        self.min.is_some_and(|min| value < min) || self.max.is_some_and(|max| value > max)
    }

    pub fn window(&self) -> Window {
        match self.strategy {
            ThresholdStrategy::Immediate => Window::Readings(1),
            ThresholdStrategy::ConsecutiveCount => Window::Readings(self.count.unwrap_or(1).max(1)),
            ThresholdStrategy::TimeDurationAverage => Window::Seconds(self.window_seconds.unwrap_or(1).max(1)),
            ThresholdStrategy::SampleCountAverage => Window::Readings(self.window_samples.unwrap_or(1).max(1)),
        }
    }

    /// Judges `newest`. `readings`: every value of [`Thresholds::window`], `newest` among them once, in any order.
    pub fn judge(&self, newest: f64, readings: &[f64]) -> Verdict {
        let by_range = |value: f64| if self.out_of_range(value) { Verdict::Violation } else { Verdict::InRange };
        match self.strategy {
            ThresholdStrategy::Immediate => by_range(newest),
            ThresholdStrategy::ConsecutiveCount if !self.out_of_range(newest) => Verdict::InRange,
            ThresholdStrategy::ConsecutiveCount => {
                let needed = self.count.unwrap_or(1).max(1);
                let enough = i64::try_from(readings.len()).is_ok_and(|count| count >= needed);
                let all = readings.iter().all(|value| self.out_of_range(*value));
                if enough && all { Verdict::Violation } else { Verdict::Undecided }
            }
            ThresholdStrategy::TimeDurationAverage | ThresholdStrategy::SampleCountAverage => {
                by_range(mean(readings).unwrap_or(newest))
            }
        }
    }

    /// Which bound `value` breaks, as a phrase; None when it is in range.
    pub fn broken_bound(&self, value: f64) -> Option<String> {
        match (self.min, self.max) {
            (Some(min), _) if value < min => Some(format!("below the minimum {min}")),
            (_, Some(max)) if value > max => Some(format!("above the maximum {max}")),
            _ => None,
        }
    }
}

/// Arithmetic mean with compensated summation (Neumaier), so that small values are not lost beside large ones.
pub fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let count = values.len() as f64;
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for &value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    let mean = (sum + lost) / count;
    // A sum beyond the range of f64 still has a mean within it.
    Some(if mean.is_finite() { mean } else { values.iter().map(|value| value / count).sum() })
}

#[cfg(test)]
mod tests {
    use super::Verdict::{InRange, Undecided, Violation};
    use super::*;
    use proptest::prelude::*;

    fn thresholds(strategy: ThresholdStrategy, size: i64) -> Thresholds {
        let (min, max) = (Some(10.0), Some(60.0));
        let size = Some(size);
        Thresholds { min, max, strategy, count: size, window_seconds: size, window_samples: size }
    }

    /// Pushes values one after another, ten seconds apart, and returns the verdict on each.
    fn verdicts(thresholds: &Thresholds, values: &[f64]) -> Vec<Verdict> {
        let judged = |end: usize| {
            let first = match thresholds.window() {
                Window::Readings(count) => (end + 1).saturating_sub(count as usize),
                Window::Seconds(seconds) => (0..=end).find(|&i| ((end - i) as i64) * 10 < seconds).unwrap_or(end),
            };
            thresholds.judge(values[end], &values[first..=end])
        };
        (0..values.len()).map(judged).collect()
    }

    #[test]
    fn the_four_strategies_by_table() {
        use ThresholdStrategy::*;
        let table: &[(ThresholdStrategy, i64, &[f64], &[Verdict])] = &[
            (Immediate, 1, &[10.0, 60.0, 9.9, 60.1, 30.0], &[InRange, InRange, Violation, Violation, InRange]),
            (
                ConsecutiveCount,
                3,
                &[99.0, 99.0, 99.0, 5.0, 30.0],
                &[Undecided, Undecided, Violation, Violation, InRange],
            ),
            (
                ConsecutiveCount,
                3,
                &[99.0, 99.0, 30.0, 99.0, 99.0],
                &[Undecided, Undecided, InRange, Undecided, Undecided],
            ),
            (ConsecutiveCount, 1, &[99.0, 30.0], &[Violation, InRange]),
            // The current value counts once: the mean of 0 and 100 is 50.
            (SampleCountAverage, 2, &[0.0, 100.0, 100.0], &[Violation, InRange, Violation]),
            (SampleCountAverage, 3, &[60.0, 60.0, 60.0, 61.0], &[InRange, InRange, InRange, Violation]),
            // Windows of 20 s hold two readings that are 10 s apart; the older edge is open.
            (TimeDurationAverage, 20, &[0.0, 100.0, 100.0], &[Violation, InRange, Violation]),
            (TimeDurationAverage, 10, &[0.0, 100.0, 30.0], &[Violation, Violation, InRange]),
        ];
        for (strategy, size, values, expected) in table {
            assert_eq!(verdicts(&thresholds(*strategy, *size), values), *expected, "{strategy:?}({size}) {values:?}");
        }
    }

    #[test]
    fn one_bound_is_enough() {
        let only_max = Thresholds { min: None, ..thresholds(ThresholdStrategy::Immediate, 1) };
        assert!(!only_max.out_of_range(-1e300) && only_max.out_of_range(60.000_001));
        assert_eq!(only_max.broken_bound(61.0).unwrap(), "above the maximum 60");
    }

    #[test]
    fn the_mean_keeps_small_values_and_survives_large_ones() {
        assert_eq!(mean(&[1e16, 1.0, -1e16, 1.0]), Some(0.5));
        assert_eq!(mean(&[f64::MAX, f64::MAX]), Some(f64::MAX));
        assert_eq!(mean(&[0.1; 10]), Some(0.1));
        assert_eq!(mean(&[]), None);
    }

    proptest! {
        #[test]
        fn consecutive_trips_exactly_when_the_last_n_are_bad(
            bad in prop::collection::vec(any::<bool>(), 1..60), count in 1_i64..6,
        ) {
            let values: Vec<f64> = bad.iter().map(|bad| if *bad { 99.0 } else { 30.0 }).collect();
            let judged = verdicts(&thresholds(ThresholdStrategy::ConsecutiveCount, count), &values);
            let mut run = 0;
            for (i, verdict) in judged.into_iter().enumerate() {
                run = if bad[i] { run + 1 } else { 0 };
                let expected = if run >= count { Violation } else if run > 0 { Undecided } else { InRange };
                prop_assert_eq!(verdict, expected);
            }
        }

        #[test]
        fn averages_follow_the_mean_of_their_window(values in prop::collection::vec(-100_i32..200, 1..60), size in 1_usize..8) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let judged = verdicts(&thresholds(ThresholdStrategy::SampleCountAverage, size as i64), &values);
            for (i, verdict) in judged.into_iter().enumerate() {
                let window = &values[(i + 1).saturating_sub(size)..=i];
                // Whole numbers: the plain sum is exact.
                let exact: f64 = window.iter().sum::<f64>() / window.len() as f64;
                prop_assert_eq!(verdict == InRange, (10.0..=60.0).contains(&exact));
            }
        }
    }
}
