//! Thresholds of pushed values: four strategies with exact arithmetic (contract 3.4).

use super::ThresholdStrategy;

/// The bounds and strategy of a metric monitor.
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
