//! One kind of instant for the whole program: microseconds since 1970, UTC, printed as ISO-8601 with `Z`.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to `self`; zero if it lies the other way round.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whether the clock was set back between `earlier` and `self`. Less than two seconds are a correction, not a jump.
    pub fn was_set_back(self, earlier: Self) -> bool {
        earlier.since(self) > Duration::from_secs(2)
    }

    /// Reads ISO-8601. With an offset it is converted, without one it is UTC; seconds may be absent.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(with_offset) = DateTime::parse_from_rfc3339(text) {
            return Some(Self(with_offset.timestamp_micros()));
        }
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
            .or_else(|| NaiveDateTime::parse_from_str(&format!("{text}T00:00"), "%Y-%m-%dT%H:%M").ok())
            .map(|naive| Self(naive.and_utc().timestamp_micros()))
            .or_else(|| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M%:z").ok().map(|at| Self(at.timestamp_micros())))
    }

    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// For sentences: to the second, e.g. "2026-11-20 12:00:00 UTC".
    pub fn for_people(self) -> String {
        self.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `first` for no doubling, twice that for one, ... up to `longest`: how long to wait after failures in a row.
pub fn doubled(first: Duration, doublings: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(doublings)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_offsets_missing_zones_and_minutes_only() {
        let noon = Timestamp::parse("2026-11-20T12:00:00Z").unwrap();
        for text in [
            "2026-11-20T12:00",
            "2026-11-20T12:00:00",
            "2026-11-20 12:00:00",
            "2026-11-20T14:00:00+02:00",
            "2026-11-20T12:00:00.0000000Z",
            "2026-11-20T14:00+02:00",
        ] {
            assert_eq!(Timestamp::parse(text), Some(noon), "{text}");
        }
        assert_eq!(Timestamp::parse("2026-11-20").map(|at| at.to_string()), Some("2026-11-20T00:00:00.000000Z".into()));
        for text in ["", "yesterday", "2026-13-01T00:00", "12", "2026-11-20T25:00"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        assert_eq!(noon.to_string(), "2026-11-20T12:00:00.000000Z");
    }
}
