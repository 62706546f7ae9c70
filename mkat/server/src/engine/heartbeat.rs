//! Heartbeats: what one does, and what its absence does.

use super::received;
use super::transition::{self, Applied, Cause};
use crate::domain::state::Outcome;
use crate::domain::{AlertType, EventType, ServiceState, Timestamp};
use crate::error::Result;
use crate::signals::Event;
use crate::store::events::{self, NewEvent};
use crate::store::monitors::{self, MonitorRow};
use crate::store::{Tx, services};

/// Records a heartbeat: check-in, event, new deadline, Up.
pub fn receive(tx: &Tx<'_>, monitor: &MonitorRow, message: Option<&str>) -> Result<Applied> {
    let service = services::get(tx, &monitor.service_id)?;
    let paused = service.state == ServiceState::Paused;
    let deadline = (!paused).then(|| monitor.deadline_after(tx.now));
    monitors::set_check_in(tx, &monitor.id, tx.now, deadline)?;
    // The wheel follows a moved deadline by itself; it has to hear only of a new one or an earlier one.
    if let Some(at) = deadline
        && monitor.deadline.is_none_or(|known| at < known)
    {
        tx.emit(Event::DeadlineSet { monitor_id: monitor.id.clone(), at });
    }
    record(tx, monitor, true, message)?;
    let cause = Cause { trigger: "heartbeat", failure_type: AlertType::Failure, reason: "heartbeat received" };
    transition::apply_to(tx, &service, monitor, Outcome::Success, &cause)
}

/// A job that says itself that it failed: a check-in, and Down until it succeeds.
pub fn fail(tx: &Tx<'_>, monitor: &MonitorRow, message: Option<&str>) -> Result<Applied> {
    monitors::set_check_in(tx, &monitor.id, tx.now, None)?;
    record(tx, monitor, false, message)?;
    let what = "the job reported a failure";
    let reason = message.map_or_else(|| what.to_owned(), |message| format!("{what}: {message}"));
    let cause = Cause { trigger: "heartbeat", failure_type: AlertType::Failure, reason: &reason };
    transition::apply(tx, monitor, Outcome::Failure, &cause)
}

/// Writes down what a job says besides (that it started, a log line). Neither a check-in nor a new deadline.
pub fn note(tx: &Tx<'_>, monitor: &MonitorRow, message: &str) -> Result<()> {
    record(tx, monitor, true, Some(message))
}

fn record(tx: &Tx<'_>, monitor: &MonitorRow, success: bool, message: Option<&str>) -> Result<()> {
    let kind = EventType::HeartbeatReceived;
    received(tx, monitor, &NewEvent { kind, success, value: None, out_of_range: false, message })
}

/// Looks at a monitor whose deadline may be over. Late: it goes Down. Returns the deadline that still lies ahead.
pub fn check_deadline(tx: &Tx<'_>, monitor_id: &str) -> Result<Option<Timestamp>> {
    let Some(monitor) = monitors::find(tx, monitor_id)? else { return Ok(None) };
    let Some(deadline) = monitor.deadline else { return Ok(None) };
    if deadline >= tx.now {
        return Ok(Some(deadline));
    }
    monitors::set_deadline(tx, &monitor.id, None)?;
    let reason = match monitor.last_check_in {
        Some(at) => format!("heartbeat missed, last check-in {}", at.for_people()),
        None => "heartbeat missed, never checked in".to_owned(),
    };
    let kind = EventType::HeartbeatReceived;
    let event = NewEvent { kind, success: false, value: None, out_of_range: false, message: Some(&reason) };
    events::insert(tx, &monitor, &event, tx.now)?;
    let cause = Cause { trigger: "missed_heartbeat", failure_type: AlertType::MissedHeartbeat, reason: &reason };
    transition::apply(tx, &monitor, Outcome::Failure, &cause)?;
    Ok(None)
}
