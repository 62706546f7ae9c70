//! Pushed values: store, judge, change state.

use super::received;
use super::transition::{self, Cause};
use crate::domain::metric::{Thresholds, Verdict, Window};
use crate::domain::{AlertType, EventType, ThresholdStrategy};
use crate::error::Result;
use crate::store::events::NewEvent;
use crate::store::monitors::{self, MonitorRow};
use crate::store::{Tx, readings};

#[derive(Debug, Clone, Copy)]
pub struct Ingested {
    /// This single value is out of range.
    pub out_of_range: bool,
    /// The strategy's verdict.
    pub violation: bool,
}

/// Takes a finite value.
pub fn ingest(tx: &Tx<'_>, monitor: &MonitorRow, value: f64) -> Result<Ingested> {
    let thresholds = &monitor.settings.thresholds;
    let out_of_range = thresholds.out_of_range(value);
    let kind = EventType::MetricIngested;
    let event = NewEvent { kind, success: !out_of_range, value: Some(value), out_of_range, message: None };
    received(tx, monitor, &event)?;
    monitors::set_last_metric(tx, &monitor.id, value, out_of_range, tx.now)?;
    let window = match thresholds.window() {
        Window::Readings(count) => readings::last(tx, &monitor.id, count, tx.now)?,
        Window::Seconds(seconds) => readings::since(tx, &monitor.id, tx.now.plus_seconds(-seconds), tx.now)?,
    };
    let verdict = thresholds.judge(value, &window);
    if let Some(outcome) = verdict.outcome() {
        let reason = reason(thresholds, value, &window, verdict);
        let cause = Cause { trigger: "metric", failure_type: AlertType::Failure, reason: &reason };
        transition::apply(tx, monitor, outcome, &cause)?;
    }
    Ok(Ingested { out_of_range, violation: verdict == Verdict::Violation })
}

fn reason(thresholds: &Thresholds, value: f64, window: &[f64], verdict: Verdict) -> String {
    use ThresholdStrategy::{ConsecutiveCount, Immediate, SampleCountAverage, TimeDurationAverage};
    let (judged, what) = match thresholds.strategy {
        Immediate | ConsecutiveCount => (value, format!("metric value {value}")),
        TimeDurationAverage | SampleCountAverage => {
            let mean = crate::domain::metric::mean(window).unwrap_or(value);
            (mean, format!("mean {mean} of {} readings (last value {value})", window.len()))
        }
    };
    let times = match (thresholds.strategy, verdict) {
        (ConsecutiveCount, Verdict::Violation) => format!(", {} times in a row", window.len()),
        _ => String::new(),
    };
    match thresholds.broken_bound(judged) {
        Some(bound) => format!("{what} is {bound}{times}"),
        None => format!("{what} is in range"),
    }
}
