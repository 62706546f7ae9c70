//! Mute windows: opening, ending early, and what is said when one ends.

use super::transition;
use crate::domain::{AlertType, ServiceState, Timestamp};
use crate::error::Result;
use crate::signals::Event;
use crate::store::{Tx, alerts, mutes, services};

/// Longest mute, in minutes (one year).
pub const MAX_MINUTES: i64 = 525_600;

/// Mutes a service from now on and returns when that ends. `minutes` is 1..=MAX_MINUTES (checked by the caller).
pub fn mute(tx: &Tx<'_>, service_id: &str, minutes: i64, reason: Option<&str>) -> Result<Timestamp> {
    let service = services::get(tx, service_id)?;
    let until = tx.now.plus_seconds(minutes * 60);
    mutes::insert(tx, &service.id, tx.now, until, reason, tx.now)?;
    changed(tx, &service.id);
    Ok(until)
}

/// Ends all mute windows of a service now. Returns how many there were.
pub fn unmute(tx: &Tx<'_>, service_id: &str) -> Result<usize> {
    let service = services::get(tx, service_id)?;
    let ended = mutes::end_all(tx, &service.id, tx.now)?;
    changed(tx, &service.id);
    Ok(ended)
}

fn changed(tx: &Tx<'_>, service_id: &str) {
    tx.emit(Event::ScheduleChanged);
    tx.emit(Event::ServiceChanged { service_id: service_id.into() });
}

/// Looks at every service whose mute window ended: what people do not know and still holds is told, once.
pub fn settle_ended(tx: &Tx<'_>) -> Result<usize> {
    let mut told = 0;
    for service_id in mutes::take_ended(tx, tx.now)? {
        let Some(service) = services::find(tx, &service_id)? else { continue };
        if mutes::is_muted(tx, &service_id, tx.now)? || service.is_suppressed {
            continue;
        }
        let Some(alert) = alerts::latest(tx, &service_id)?.filter(|alert| alert.muted) else { continue };
        let still_true = match alert.kind {
            AlertType::Recovery => service.state == ServiceState::Up && service.told_down,
            _ => service.state == ServiceState::Down,
        };
        if still_true {
            alerts::release(tx, &alert.id, tx.now)?;
            transition::announce(tx, &alert)?;
            told += 1;
        }
    }
    Ok(told)
}
