//! Services and their monitors come, change and go.

use super::pause;
use super::transition::{self, Cause};
use crate::domain::{AlertType, MonitorType, ServiceState, Severity, token};
use crate::error::{Code, Error, Result};
use crate::signals::Event;
use crate::store::Tx;
use crate::store::monitors::{self, MonitorRow, MonitorSettings};
use crate::store::services::{self, NewService, ServiceRow};

/// Stores a service with its monitors and returns its id.
pub fn create(tx: &Tx<'_>, new: &NewService, monitors: &[(MonitorType, MonitorSettings)]) -> Result<String> {
    let id = services::insert(tx, new, tx.now)?;
    for (kind, settings) in monitors {
        add_monitor(tx, &id, *kind, settings)?;
    }
    changed(tx, &id);
    Ok(id)
}

/// `severity` None keeps the stored one.
pub fn update(tx: &Tx<'_>, id: &str, name: &str, description: Option<&str>, severity: Option<Severity>) -> Result<()> {
    services::get(tx, id)?;
    services::update(tx, id, name, description, severity, tx.now)?;
    changed(tx, id);
    Ok(())
}

/// Deletes a service and all that hangs on it. That of a peer goes with the peer only.
pub fn delete(tx: &Tx<'_>, id: &str) -> Result<()> {
    refuse_peer(&services::get(tx, id)?)?;
    services::delete(tx, id)?;
    changed(tx, id);
    Ok(())
}

/// What a peer reports to goes and changes its address with the peer only.
fn refuse_peer(service: &ServiceRow) -> Result<()> {
    if service.managed_by.as_deref() != Some("peer") {
        return Ok(());
    }
    Err(Error::refused(Code::ServiceManaged, "this service stands for a peer: unpair the peer instead"))
}

pub fn add_monitor(tx: &Tx<'_>, service_id: &str, kind: MonitorType, settings: &MonitorSettings) -> Result<MonitorRow> {
    let service = services::get(tx, service_id)?;
    let monitor = monitors::insert(tx, &service.id, kind, settings, tx.now)?;
    if kind == MonitorType::Heartbeat && service.state != ServiceState::Paused {
        pause::arm(tx, &monitor)?;
    }
    changed(tx, service_id);
    Ok(monitor)
}

/// The monitor, if it belongs to the service.
pub fn monitor_of(db: &rusqlite::Connection, service_id: &str, monitor_id: &str) -> Result<MonitorRow> {
    services::get(db, service_id)?;
    let monitor = monitors::get(db, monitor_id)?;
    if monitor.service_id == service_id {
        return Ok(monitor);
    }
    Err(Error::refused(Code::MonitorNotFound, "the service has no such monitor"))
}

/// Changes a monitor; one that is waiting for a heartbeat waits a full interval and grace from now.
pub fn update_monitor(tx: &Tx<'_>, monitor: &MonitorRow, settings: &MonitorSettings) -> Result<MonitorRow> {
    monitors::update(tx, &monitor.id, settings, tx.now)?;
    let updated = monitors::get(tx, &monitor.id)?;
    if updated.deadline.is_some() {
        pause::arm(tx, &updated)?;
    }
    changed(tx, &monitor.service_id);
    monitors::get(tx, &monitor.id)
}

/// Removes a monitor; its service may get better by that. The last one stays.
pub fn remove_monitor(tx: &Tx<'_>, service_id: &str, monitor_id: &str) -> Result<()> {
    let monitor = monitor_of(tx, service_id, monitor_id)?;
    let service = services::get(tx, service_id)?;
    refuse_peer(&service)?;
    if monitors::count_of_service(tx, service_id)? <= 1 {
        return Err(Error::refused(Code::LastMonitor, "a service needs at least one monitor"));
    }
    monitors::delete(tx, &monitor.id)?;
    if service.state != ServiceState::Paused {
        let reason = "a monitor was removed";
        let cause = Cause { trigger: "monitor_removed", failure_type: AlertType::Failure, reason };
        transition::settle(tx, &service, None, &cause)?;
    }
    changed(tx, service_id);
    Ok(())
}

/// Gives a monitor a new token; the old one is unknown from now on.
pub fn rotate_token(tx: &Tx<'_>, monitor: &MonitorRow) -> Result<MonitorRow> {
    replace_token(tx, monitor, &token::new_token())
}

/// Gives a monitor this token, which no other may have.
pub fn replace_token(tx: &Tx<'_>, monitor: &MonitorRow, token: &str) -> Result<MonitorRow> {
    refuse_peer(&services::get(tx, &monitor.service_id)?)?;
    if monitors::find_by_token(tx, token)?.is_some_and(|other| other.id != monitor.id) {
        return Err(Error::invalid_field("Token", "another monitor has this token"));
    }
    monitors::set_token(tx, &monitor.id, token, tx.now)?;
    changed(tx, &monitor.service_id);
    monitors::get(tx, &monitor.id)
}

fn changed(tx: &Tx<'_>, service_id: &str) {
    tx.emit(Event::ServiceChanged { service_id: service_id.into() });
}
