//! Alerts of an Alertmanager become states of services: Down while anything fires, Up when nothing does.

use super::transition::{self, Cause};
use super::{heartbeat, received, services as use_services};
use crate::domain::labels::{self, Labels};
use crate::domain::state::Outcome;
use crate::domain::{AlertType, EventType, MonitorState, MonitorType, ServiceState, Severity, Timestamp};
use crate::error::{Error, Result};
use crate::signals::Event;
use crate::store::Tx;
use crate::store::alertmanager::{self as store, AlertRow, Place, ReceiverRow};
use crate::store::events::NewEvent;
use crate::store::monitors::{self, MonitorRow, MonitorSettings};
use crate::store::services::{self, NewService, ServiceRow};
use std::collections::BTreeSet;

/// One alert of a request.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub firing: bool,
    pub fingerprint: String,
    pub labels: Labels,
    /// One line for people.
    pub summary: String,
    pub starts_at: Timestamp,
    pub ends_at: Option<Timestamp>,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    pub alerts: Vec<Incoming>,
    /// Alerts that the sender left out.
    pub truncated: i64,
    /// SHA-256 of the key of the group that the request is about.
    pub group: [u8; 32],
}

/// What became of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    pub firing: usize,
    pub resolved: usize,
    /// Reports that a newer one had overtaken.
    pub stale: usize,
    /// People are being told something.
    pub alert_created: bool,
}

/// A firing report that comes so soon after the resolution of the same alert is late, not a new failure, in seconds.
const OVERTAKEN: i64 = 30;
/// Ended alerts are kept this long, in seconds.
const KEPT: i64 = 7 * 86_400;
/// Rhythm of the monitors made here; nothing waits for it.
const RHYTHM: (i64, i64) = (300, 60);

/// Takes all alerts of one request. The same request again changes nothing.
pub fn receive(tx: &Tx<'_>, receiver: &ReceiverRow, request: &Request) -> Result<Received> {
    note_truncation(tx, receiver, request)?;
    let mut done = Received::default();
    let mut touched = BTreeSet::new();
    for alert in &request.alerts {
        let watchdog = &receiver.settings.watchdog_alert;
        if !watchdog.is_empty() && labels::alert_name(&alert.labels) == watchdog {
            if alert.firing {
                done.firing += 1;
                done.alert_created |= watchdog_fired(tx, receiver)?;
            }
        } else if alert.firing {
            match fire(tx, receiver, alert)? {
                Some(monitor_id) => {
                    done.firing += 1;
                    touched.insert(monitor_id);
                }
                None => done.stale += 1,
            }
        } else {
            done.resolved += 1;
            let ends_at = alert.ends_at.unwrap_or(tx.now).max(alert.starts_at);
            touched.extend(store::resolve(tx, &receiver.id, &alert.fingerprint, ends_at, tx.now)?);
        }
    }
    for monitor_id in touched {
        done.alert_created |= settle(tx, &monitor_id, "resolved")?;
    }
    tx.emit(Event::ReceiversChanged);
    Ok(done)
}

/// Remembers that alerts were left out, until a message of the same group is whole again.
fn note_truncation(tx: &Tx<'_>, receiver: &ReceiverRow, request: &Request) -> Result<()> {
    if request.truncated > 0 {
        let (name, truncated) = (&receiver.settings.name, request.truncated);
        tracing::warn!(receiver = name, truncated, "Alertmanager left alerts out: raise max_alerts");
        return store::set_truncated(tx, &receiver.id, truncated, Some(request.group));
    }
    if receiver.truncated_group == Some(request.group) {
        store::set_truncated(tx, &receiver.id, 0, None)?;
    }
    Ok(())
}

/// Notes a firing alert and returns its monitor; None if it was overtaken by its resolution.
fn fire(tx: &Tx<'_>, receiver: &ReceiverRow, alert: &Incoming) -> Result<Option<String>> {
    let late = tx.now.plus_seconds(-OVERTAKEN);
    if store::resolved_since(tx, &receiver.id, &alert.fingerprint, alert.starts_at, late)? {
        return Ok(None);
    }
    let monitor_id = match store::firing_monitor(tx, &receiver.id, &alert.fingerprint)? {
        Some(known) => known,
        None => place_of(tx, receiver, alert)?.monitor_id,
    };
    let row = AlertRow {
        fingerprint: alert.fingerprint.clone(),
        starts_at: alert.starts_at,
        monitor_id: monitor_id.clone(),
        severity: labels::severity(&alert.labels),
        summary: alert.summary.clone(),
        labels_json: serde_json::to_string(&alert.labels).map_err(Error::internal)?,
        last_seen_at: tx.now,
    };
    store::fire(tx, &receiver.id, &row)?;
    monitors::set_check_in(tx, &monitor_id, tx.now, None)?;
    Ok(Some(monitor_id))
}

/// The service that the labels name; beyond the receiver's limit one service takes all the rest.
fn place_of(tx: &Tx<'_>, receiver: &ReceiverRow, alert: &Incoming) -> Result<Place> {
    let name = labels::render(&receiver.settings.service_template, &alert.labels);
    let key = format!("service:{name}");
    if let Some(place) = store::find_place(tx, &receiver.id, &key)? {
        return Ok(place);
    }
    if store::count_places(tx, &receiver.id)? < receiver.settings.max_services {
        return make_place(tx, receiver, &key, &name, ("alertmanager", labels::severity(&alert.labels)));
    }
    match store::find_place(tx, &receiver.id, "overflow")? {
        Some(place) => Ok(place),
        None => {
            let name = format!("{}: further alerts", receiver.settings.name);
            make_place(tx, receiver, "overflow", &name, ("alertmanager", labels::severity(&alert.labels)))
        }
    }
}

/// A monitor for a key, in the service of that name if there is one, else in a new service.
fn make_place(
    tx: &Tx<'_>,
    receiver: &ReceiverRow,
    key: &str,
    name: &str,
    (managed_by, severity): (&'static str, Severity),
) -> Result<Place> {
    let (kind, settings) = match managed_by {
        "watchdog" => (MonitorType::Heartbeat, watchdog_rhythm(receiver.settings.watchdog_seconds)),
        _ => (MonitorType::Webhook, MonitorSettings::timed(RHYTHM.0, RHYTHM.1)),
    };
    let existing = services::find_by_name(tx, name)?.filter(|service| service.managed_by.as_deref() != Some("peer"));
    let service_id = match existing {
        Some(service) => service.id,
        None => {
            let description = Some(format!("made for alerts of {}", receiver.settings.name));
            let name =
                if services::find_by_name(tx, name)?.is_some() { format!("{name} (alerts)") } else { name.into() };
            services::insert(tx, &NewService { name, description, severity, managed_by: Some(managed_by) }, tx.now)?
        }
    };
    let monitor = use_services::add_monitor(tx, &service_id, kind, &settings)?;
    let place = Place { service_id, monitor_id: monitor.id };
    store::add_place(tx, &receiver.id, key, &place)?;
    Ok(place)
}

/// Missed as soon as the watchdog was silent for its time.
fn watchdog_rhythm(seconds: i64) -> MonitorSettings {
    MonitorSettings::timed(seconds, 0)
}

/// The alert that always fires is a heartbeat of the whole alerting pipeline.
fn watchdog_fired(tx: &Tx<'_>, receiver: &ReceiverRow) -> Result<bool> {
    let place = match store::find_place(tx, &receiver.id, "watchdog")? {
        Some(place) => place,
        None => {
            let name = format!("{}: watchdog", receiver.settings.name);
            make_place(tx, receiver, "watchdog", &name, ("watchdog", Severity::Critical))?
        }
    };
    let monitor = monitors::get(tx, &place.monitor_id)?;
    Ok(heartbeat::receive(tx, &monitor, Some("watchdog alert"))?.alert_created)
}

/// Brings a monitor in line with what fires in it. `quiet` says why nothing does. Returns whether people are told.
fn settle(tx: &Tx<'_>, monitor_id: &str, quiet: &str) -> Result<bool> {
    let Some(monitor) = monitors::find(tx, monitor_id)? else { return Ok(false) };
    let service = services::get(tx, &monitor.service_id)?;
    let firing = store::firing_in(tx, monitor_id)?;
    let Some(worst) = firing.first().map(|alert| alert.severity) else {
        return report(tx, &service, &monitor, Outcome::Success, quiet);
    };
    let reason = describe(&firing);
    let own = service.managed_by.as_deref() == Some("alertmanager");
    let worse = own && worst > service.severity;
    if own && (worse || monitor.state != MonitorState::Down) && worst != service.severity {
        services::update(tx, &service.id, &service.name, service.description.as_deref(), Some(worst), tx.now)?;
    }
    let service = services::get(tx, &service.id)?;
    if monitor.state == MonitorState::Down && worse {
        return transition::worsened(tx, &service, &cause(&reason));
    }
    report(tx, &service, &monitor, Outcome::Failure, &reason)
}

fn report(tx: &Tx<'_>, service: &ServiceRow, monitor: &MonitorRow, outcome: Outcome, reason: &str) -> Result<bool> {
    let (kind, success) = (EventType::WebhookReceived, outcome == Outcome::Success);
    if monitor.state == outcome.monitor_state() || service.state == ServiceState::Paused {
        return Ok(false);
    }
    received(tx, monitor, &NewEvent { kind, success, value: None, out_of_range: false, message: Some(reason) })?;
    Ok(transition::apply_to(tx, service, monitor, outcome, &cause(reason))?.alert_created)
}

const fn cause(reason: &str) -> Cause<'_> {
    Cause { trigger: "alertmanager", failure_type: AlertType::Failure, reason }
}

/// The worst alerts in words.
fn describe(firing: &[AlertRow]) -> String {
    const SHOWN: usize = 3;
    let mut text: Vec<String> = firing.iter().take(SHOWN).map(|alert| alert.summary.clone()).collect();
    if firing.len() > SHOWN {
        text.push(format!("and {} more", firing.len() - SHOWN));
    }
    text.join("; ")
}

/// What time alone changes: alerts that were not repeated, services whose pause ended, rows that are too old.
pub fn tidy(tx: &Tx<'_>) -> Result<()> {
    for monitor_id in store::expire(tx, tx.now)?.into_iter().collect::<BTreeSet<_>>() {
        settle(tx, &monitor_id, "not repeated any more")?;
    }
    for monitor_id in store::unsettled(tx)? {
        settle(tx, &monitor_id, "resolved")?;
    }
    store::forget(tx, tx.now.plus_seconds(-KEPT))?;
    Ok(())
}

pub fn create(tx: &Tx<'_>, new: &store::ReceiverSettings, bearer: Option<[u8; 32]>) -> Result<ReceiverRow> {
    let id = store::insert(tx, new, bearer, tx.now)?;
    tx.emit(Event::ReceiversChanged);
    store::get(tx, &id)
}

/// Changes a receiver; its watchdog waits by the new time.
pub fn update(tx: &Tx<'_>, id: &str, new: &store::ReceiverSettings, bearer: Option<[u8; 32]>) -> Result<ReceiverRow> {
    store::get(tx, id)?;
    store::update(tx, id, new, bearer)?;
    if let Some(place) = store::find_place(tx, id, "watchdog")? {
        if new.watchdog_alert.is_empty() {
            remove_place(tx, &place)?;
        } else {
            let monitor = monitors::get(tx, &place.monitor_id)?;
            use_services::update_monitor(tx, &monitor, &watchdog_rhythm(new.watchdog_seconds))?;
        }
    }
    tx.emit(Event::ReceiversChanged);
    store::get(tx, id)
}

/// Gives a receiver a new token; the old one is unknown from now on.
pub fn rotate_token(tx: &Tx<'_>, id: &str) -> Result<ReceiverRow> {
    store::get(tx, id)?;
    store::rotate_token(tx, id)?;
    tx.emit(Event::ReceiversChanged);
    store::get(tx, id)
}

/// Deletes a receiver and what was made for its alerts; a service that the operator made only loses its monitor.
pub fn delete(tx: &Tx<'_>, id: &str) -> Result<()> {
    store::get(tx, id)?;
    for place in store::places(tx, id)? {
        remove_place(tx, &place)?;
    }
    tx.emit(Event::ReceiversChanged);
    store::delete(tx, id)
}

fn remove_place(tx: &Tx<'_>, place: &Place) -> Result<()> {
    let Some(service) = services::find(tx, &place.service_id)? else { return Ok(()) };
    if service.managed_by.is_some() {
        services::delete(tx, &service.id)?;
        tx.emit(Event::ServiceChanged { service_id: service.id });
        return Ok(());
    }
    if monitors::count_of_service(tx, &service.id)? > 1 {
        return use_services::remove_monitor(tx, &service.id, &place.monitor_id);
    }
    // A service needs a monitor, so the last one stays; what fired in it is over.
    let monitor = monitors::get(tx, &place.monitor_id)?;
    report(tx, &service, &monitor, Outcome::Success, "its receiver was deleted").map(drop)
}
