//! Pause and resume of a service.

use super::transition::{self, Cause};
use crate::domain::{AlertType, MonitorType, ServiceState, Timestamp};
use crate::error::{Code, Error, Result};
use crate::signals::Event;
use crate::store::{Tx, monitors, services};

/// Pauses a service from any state; a paused one gets the new end.
pub fn pause(tx: &Tx<'_>, service_id: &str, until: Option<Timestamp>, auto_resume: bool) -> Result<()> {
    let service = services::get(tx, service_id)?;
    services::set_pause(tx, service_id, until, auto_resume)?;
    services::set_told_down(tx, service_id, false)?;
    transition::set_service_state(tx, &service, ServiceState::Paused, &cause("pause"))?;
    for monitor in monitors::of_service(tx, service_id)? {
        monitors::set_deadline(tx, &monitor.id, None)?;
    }
    tx.emit(Event::ScheduleChanged);
    Ok(())
}

/// Ends a pause: Unknown again, and every heartbeat gets a full interval and grace from now.
/// `trigger` is `resume` or `auto_resume`.
pub fn resume(tx: &Tx<'_>, service_id: &str, trigger: &'static str) -> Result<()> {
    let service = services::get(tx, service_id)?;
    if service.state != ServiceState::Paused {
        return Err(Error::refused(Code::ServiceNotPaused, "the service is not paused"));
    }
    services::set_pause(tx, service_id, None, false)?;
    monitors::reset_states(tx, service_id, tx.now)?;
    transition::set_service_state(tx, &service, ServiceState::Unknown, &cause(trigger))?;
    for monitor in monitors::of_service(tx, service_id)? {
        if monitor.kind == MonitorType::Heartbeat {
            arm(tx, &monitor)?;
        }
    }
    tx.emit(Event::ScheduleChanged);
    Ok(())
}

/// Starts the deadline of a heartbeat monitor, counted from now.
pub fn arm(tx: &Tx<'_>, monitor: &monitors::MonitorRow) -> Result<()> {
    let at = monitor.deadline_after(tx.now);
    monitors::set_deadline(tx, &monitor.id, Some(at))?;
    tx.emit(Event::DeadlineSet { monitor_id: monitor.id.clone(), at });
    Ok(())
}

/// Resumes every service whose pause is over. Returns how many.
pub fn resume_due(tx: &Tx<'_>) -> Result<usize> {
    let due = services::due_for_resume(tx, tx.now)?;
    for service_id in &due {
        resume(tx, service_id, "auto_resume")?;
    }
    Ok(due.len())
}

const fn cause(trigger: &'static str) -> Cause<'static> {
    Cause { trigger, failure_type: AlertType::Failure, reason: "" }
}
