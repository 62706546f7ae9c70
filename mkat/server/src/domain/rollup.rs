//! Arithmetic of rollups and of uptime: statistics of a period, periods by the calendar (UTC), time spent per state.

use super::{Granularity, ServiceState, Timestamp};
use chrono::{DateTime, Datelike, Days, Months, NaiveTime, TimeDelta, Timelike, Utc};

/// What a period comes to. Statistics of values are None when there were none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rollup {
    pub count: i64,
    pub success: i64,
    pub values: i64,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub mean: Option<f64>,
    /// Of the whole population, not of a sample.
    pub std_dev: Option<f64>,
    /// Median, p80, p90, p95: only where the single values were at hand.
    pub percentiles: [Option<f64>; 4],
}

impl Rollup {
    /// Of single values, which need not be sorted.
    pub fn of_values(count: i64, success: i64, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let mut rollup = Self { count, success, values: values.len() as i64, ..Self::default() };
        if let (Some(first), Some(last)) = (values.first(), values.last()) {
            let n = values.len() as f64;
            let mean = values.iter().map(|value| value / n).sum::<f64>();
            let variance = values.iter().map(|value| (value - mean).powi(2) / n).sum::<f64>();
            (rollup.min, rollup.max) = (Some(*first), Some(*last));
            (rollup.mean, rollup.std_dev) = (Some(mean), Some(variance.sqrt()));
            rollup.percentiles = [0.5, 0.8, 0.9, 0.95].map(|p| Some(percentile(&values, p)));
        }
        rollup
    }

    /// Adds a later or earlier period. Exact but for the percentiles, which cannot be joined.
    #[must_use]
    pub fn joined(self, other: &Self) -> Self {
        let (a, b) = (self.values as f64, other.values as f64);
        let both = |left: Option<f64>, right: Option<f64>, pick: fn(f64, f64) -> f64| match (left, right) {
            (Some(left), Some(right)) => Some(pick(left, right)),
            (one, other) => one.or(other),
        };
        let (mean, std_dev) = match (self.mean.zip(self.std_dev), other.mean.zip(other.std_dev)) {
            (Some((m1, s1)), Some((m2, s2))) => {
                let mean = m1 * (a / (a + b)) + m2 * (b / (a + b));
                let spread = |m: f64, s: f64| s.powi(2) + (m - mean).powi(2);
                let variance = spread(m1, s1) * (a / (a + b)) + spread(m2, s2) * (b / (a + b));
                (Some(mean), Some(variance.sqrt()))
            }
            (one, other) => one.or(other).unzip(),
        };
        Self {
            count: self.count + other.count,
            success: self.success + other.success,
            values: self.values + other.values,
            min: both(self.min, other.min, f64::min),
            max: both(self.max, other.max, f64::max),
            mean,
            std_dev,
            percentiles: [None; 4],
        }
    }

    /// Share of successes in percent, two decimals; None if nothing happened.
    pub fn uptime_percent(&self) -> Option<f64> {
        (self.count > 0).then(|| percent(self.success as f64, self.count as f64))
    }
}

/// Linear interpolation at p * (n - 1); `sorted` is not empty.
fn percentile(sorted: &[f64], p: f64) -> f64 {
    let at = p * (sorted.len() - 1) as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] * (1.0 - part) + sorted[high] * part
}

/// Two decimals; 0 of nothing.
pub fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole * 10_000.0).round() / 100.0 } else { 0.0 }
}

/// Beginning of the period that contains `at`. Weeks begin on Monday.
pub fn period_start(granularity: Granularity, at: Timestamp) -> Timestamp {
    let at = at.to_utc();
    let midnight = |at: DateTime<Utc>| at.date_naive().and_time(NaiveTime::MIN).and_utc();
    let start = match granularity {
        Granularity::Hourly => midnight(at) + TimeDelta::hours(i64::from(at.hour())),
        Granularity::Daily => midnight(at),
        Granularity::Weekly => midnight(at) - Days::new(u64::from(at.weekday().num_days_from_monday())),
        Granularity::Monthly => midnight(at) - Days::new(u64::from(at.day0())),
    };
    Timestamp::from_micros(start.timestamp_micros())
}

/// Beginning of the period after the one that begins at `start`.
pub fn next_period(granularity: Granularity, start: Timestamp) -> Timestamp {
    let start = start.to_utc();
    let next = match granularity {
        Granularity::Hourly => start + TimeDelta::hours(1),
        Granularity::Daily => start + Days::new(1),
        Granularity::Weekly => start + Days::new(7),
        Granularity::Monthly => start + Months::new(1),
    };
    Timestamp::from_micros(next.timestamp_micros())
}

/// Seconds spent in each state (in the order of the enum) from `from` to `to`. `changes` are instants with the state that
/// began then, oldest first; before the first of them it was `initial`.
pub fn time_in_states(
    initial: ServiceState,
    changes: &[(Timestamp, ServiceState)],
    from: Timestamp,
    to: Timestamp,
) -> [f64; 4] {
    let mut seconds = [0.0; 4];
    let (mut state, mut since) = (initial, from);
    for &(at, next) in changes {
        let at = at.max(from).min(to);
        seconds[state as usize] += at.since(since).as_secs_f64();
        (state, since) = (next, at);
    }
    seconds[state as usize] += to.since(since).as_secs_f64();
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn statistics_are_exact() {
        let rollup = Rollup::of_values(5, 4, vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((rollup.min, rollup.max, rollup.mean), (Some(1.0), Some(4.0), Some(2.5)));
        assert_eq!(rollup.std_dev, Some(1.25_f64.sqrt()));
        let [median, p80, p90, p95] = rollup.percentiles.map(|value| (value.unwrap() * 1e6).round() / 1e6);
        assert_eq!((median, p80, p90, p95), (2.5, 3.4, 3.7, 3.85));
        assert_eq!(rollup.uptime_percent(), Some(80.0));
        let empty = Rollup::of_values(0, 0, vec![]);
        assert_eq!((empty.mean, empty.uptime_percent(), empty.percentiles), (None, None, [None; 4]));
    }

    #[test]
    fn periods_follow_the_calendar() {
        let when = at("2026-03-01T10:59:59.5Z");
        let table = [
            (Granularity::Hourly, "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"),
            (Granularity::Daily, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
            (Granularity::Weekly, "2026-02-23T00:00:00Z", "2026-03-02T00:00:00Z"),
            (Granularity::Monthly, "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"),
        ];
        for (granularity, start, next) in table {
            assert_eq!(period_start(granularity, when), at(start));
            assert_eq!(next_period(granularity, at(start)), at(next));
        }
    }

    #[test]
    fn time_is_counted_by_state() {
        let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:01:40Z"));
        let changes = [
            (at("2026-01-01T00:00:10Z"), ServiceState::Up),
            (at("2026-01-01T00:00:40Z"), ServiceState::Down),
            (at("2026-01-01T00:01:00Z"), ServiceState::Up),
        ];
        assert_eq!(time_in_states(ServiceState::Unknown, &changes, from, to), [10.0, 70.0, 20.0, 0.0]);
        assert_eq!(time_in_states(ServiceState::Paused, &[], from, to), [0.0, 0.0, 0.0, 100.0]);
        assert_eq!((percent(70.0, 90.0), percent(0.0, 0.0)), (77.78, 0.0));
    }

    proptest! {
        #[test]
        fn joined_parts_are_the_whole(values in prop::collection::vec(-1e6..1e6_f64, 2..60), cut in 0_usize..60) {
            let cut = cut.min(values.len());
            let whole = Rollup::of_values(values.len() as i64, 0, values.clone());
            let part = |slice: &[f64]| Rollup::of_values(slice.len() as i64, 0, slice.to_vec());
            let joined = part(&values[..cut]).joined(&part(&values[cut..]));
            prop_assert_eq!((joined.count, joined.min, joined.max), (whole.count, whole.min, whole.max));
            prop_assert!((joined.mean.unwrap() - whole.mean.unwrap()).abs() < 1e-3);
            prop_assert!((joined.std_dev.unwrap() - whole.std_dev.unwrap()).abs() < 1e-3);
        }
    }
}
