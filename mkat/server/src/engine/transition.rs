//! The one way a monitor's state changes: monitor, service, history, alert and outbox in one transaction.

use crate::domain::state::{self, News, Outcome};
use crate::domain::{AlertType, MonitorState, ServiceState};
use crate::error::Result;
use crate::signals::Event;
use crate::store::alerts::{self, AlertRow};
use crate::store::monitors::{self, MonitorRow};
use crate::store::services::{self, ServiceRow};
use crate::store::transitions::{self, TransitionRow};
use crate::store::{Tx, mutes, outbox};

/// Why a monitor reports what it reports.
#[derive(Debug, Clone)]
pub struct Cause<'a> {
    /// webhook, heartbeat, missed_heartbeat, metric, health_check, alertmanager, ...: the `trigger` of the history.
    pub trigger: &'static str,
    /// Type of the alert if the service goes Down by this; recoveries are always `Recovery`.
    pub failure_type: AlertType,
    /// One sentence without the service's name, e.g. "webhook reported a failure: disk full".
    pub reason: &'a str,
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    pub from: ServiceState,
    pub to: ServiceState,
    /// An alert was announced (not muted).
    pub alert_created: bool,
}

/// Applies what `monitor` reports. While its service is paused nothing changes; a repeated report changes nothing.
pub fn apply(tx: &Tx<'_>, monitor: &MonitorRow, outcome: Outcome, cause: &Cause<'_>) -> Result<Applied> {
    apply_to(tx, &services::get(tx, &monitor.service_id)?, monitor, outcome, cause)
}

/// Like [`apply`], for callers that have read the monitor's service in this transaction.
pub fn apply_to(
    tx: &Tx<'_>,
    service: &ServiceRow,
    monitor: &MonitorRow,
    outcome: Outcome,
    cause: &Cause<'_>,
) -> Result<Applied> {
    let to = outcome.monitor_state();
    if service.state == ServiceState::Paused || monitor.state == to {
        return Ok(Applied { from: service.state, to: service.state, alert_created: false });
    }
    monitors::set_state(tx, &monitor.id, to, tx.now)?;
    settle(tx, service, Some((monitor, to)), cause)
}

/// Brings a service to the worst state of its monitors, after one of them changed or was removed.
pub fn settle(
    tx: &Tx<'_>,
    service: &ServiceRow,
    changed: Option<(&MonitorRow, MonitorState)>,
    cause: &Cause<'_>,
) -> Result<Applied> {
    let to = state::worst_of(monitors::states(tx, &service.id)?);
    if to != service.state || changed.is_some() {
        record(tx, service, to, changed, cause)?;
    }
    if to == service.state {
        return Ok(Applied { from: to, to, alert_created: false });
    }
    services::set_state(tx, &service.id, to, tx.now)?;
    emit_change(tx, service, to);
    let alert_created = tell(tx, service, state::news(service.state, to), cause)?;
    Ok(Applied { from: service.state, to, alert_created })
}

/// Changes the state of a service by an action on the service itself (pause, resume): history, but never an alert.
pub fn set_service_state(tx: &Tx<'_>, service: &ServiceRow, to: ServiceState, cause: &Cause<'_>) -> Result<()> {
    record(tx, service, to, None, cause)?;
    services::set_state(tx, &service.id, to, tx.now)?;
    emit_change(tx, service, to);
    Ok(())
}

fn emit_change(tx: &Tx<'_>, service: &ServiceRow, to: ServiceState) {
    let (service_id, name) = (service.id.clone(), service.name.clone());
    tx.emit(Event::StateChanged { service_id, name, from: service.state, to, at: tx.now });
}

fn record(
    tx: &Tx<'_>,
    service: &ServiceRow,
    to: ServiceState,
    changed: Option<(&MonitorRow, MonitorState)>,
    cause: &Cause<'_>,
) -> Result<()> {
    let row = TransitionRow {
        id: 0,
        service_id: service.id.clone(),
        monitor_id: changed.map(|(monitor, _)| monitor.id.clone()),
        from: service.state,
        to,
        monitor_from: changed.map(|(monitor, _)| monitor.state),
        monitor_to: changed.map(|(_, state)| state),
        trigger: cause.trigger.into(),
        reason: (!cause.reason.is_empty()).then(|| cause.reason.into()),
        created_at: tx.now,
    };
    tracing::info!(service = service.name, from = service.state.name(), to = to.name(), trigger = row.trigger, "state");
    transitions::insert(tx, &row)
}

/// Writes the alert of `news` and, unless it is muted, its outbox rows. Returns whether it was announced.
fn tell(tx: &Tx<'_>, service: &ServiceRow, news: News, cause: &Cause<'_>) -> Result<bool> {
    let (kind, word) = match news {
        News::Nothing => return Ok(false),
        News::Failed => (cause.failure_type, "failed"),
        News::Recovered => (AlertType::Recovery, "recovered"),
    };
    let silent = service.is_suppressed || mutes::is_muted(tx, &service.id, tx.now)?;
    let announce = state::announced(news, silent, service.told_down);
    let message = format!("{} {word}: {}", service.name, cause.reason);
    let alert = alerts::insert(tx, service, kind, &message, !announce, tx.now)?;
    emit_alert(tx, &alert);
    if announce {
        self::announce(tx, &alert)?;
    }
    Ok(announce)
}

/// Says once more that a service is Down, because it got worse. Returns whether that was announced.
pub fn worsened(tx: &Tx<'_>, service: &ServiceRow, cause: &Cause<'_>) -> Result<bool> {
    if service.state != ServiceState::Down {
        return Ok(false);
    }
    tell(tx, service, News::Failed, cause)
}

/// Hands an alert to the outbox and remembers what people were told.
pub fn announce(tx: &Tx<'_>, alert: &AlertRow) -> Result<()> {
    services::set_told_down(tx, &alert.service_id, alert.kind != AlertType::Recovery)?;
    outbox::enqueue(tx, alert)?;
    Ok(())
}

fn emit_alert(tx: &Tx<'_>, alert: &AlertRow) {
    tx.emit(Event::AlertCreated {
        alert_id: alert.id.clone(),
        service_id: alert.service_id.clone(),
        kind: alert.kind,
        severity: alert.severity,
        message: alert.message.clone(),
        muted: alert.muted,
    });
}
