//! The result of a health check.

use super::received;
use super::transition::{self, Cause};
use crate::domain::state::Outcome;
use crate::domain::{AlertType, EventType, ServiceState};
use crate::error::Result;
use crate::store::events::NewEvent;
use crate::store::{Tx, monitors, services};

/// Records a check that took `millis`; `failure` says what was wrong. What was paused or deleted meanwhile stays as it is.
pub fn record(tx: &Tx<'_>, monitor_id: &str, millis: f64, failure: Option<&str>) -> Result<()> {
    let Some(monitor) = monitors::find(tx, monitor_id)? else { return Ok(()) };
    let service = services::get(tx, &monitor.service_id)?;
    if service.state == ServiceState::Paused {
        return Ok(());
    }
    let (kind, success) = (EventType::HealthCheckPerformed, failure.is_none());
    monitors::set_check_in(tx, &monitor.id, tx.now, None)?;
    let event = NewEvent { kind, success, value: Some(millis), out_of_range: false, message: failure };
    received(tx, &monitor, &event)?;
    let reason = failure.map_or_else(|| "health check passed".to_owned(), |why| format!("health check failed: {why}"));
    let cause = Cause { trigger: "health_check", failure_type: AlertType::FailedHealthCheck, reason: &reason };
    let outcome = if success { Outcome::Success } else { Outcome::Failure };
    transition::apply_to(tx, &service, &monitor, outcome, &cause)?;
    Ok(())
}
