//! History: every change of state of a service or of one of its monitors.

use crate::domain::{MonitorState, ServiceState, Timestamp};
use crate::error::Result;
use rusqlite::{Connection, Row, params};

#[derive(Debug, Clone)]
pub struct TransitionRow {
    pub id: i64,
    pub service_id: String,
    /// The monitor whose signal caused it; None for actions on the service.
    pub monitor_id: Option<String>,
    pub from: ServiceState,
    pub to: ServiceState,
    pub monitor_from: Option<MonitorState>,
    pub monitor_to: Option<MonitorState>,
    /// webhook, heartbeat, missed_heartbeat, metric, health_check, pause, resume, auto_resume, ...
    pub trigger: String,
    pub reason: Option<String>,
    pub created_at: Timestamp,
}

pub fn insert(db: &Connection, row: &TransitionRow) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO transitions (service_id, monitor_id, from_state, to_state, monitor_from, monitor_to, \
         trigger_name, reason, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        row.service_id,
        row.monitor_id,
        row.from,
        row.to,
        row.monitor_from,
        row.monitor_to,
        row.trigger,
        row.reason,
        row.created_at
    ])?;
    Ok(())
}

/// Newest first; from and to are inclusive.
pub fn page(
    db: &Connection,
    service_id: &str,
    range: (Option<Timestamp>, Option<Timestamp>),
    limit: i64,
    offset: i64,
) -> Result<Vec<TransitionRow>> {
    let mut statement = db.prepare_cached(
        "SELECT id, service_id, monitor_id, from_state, to_state, monitor_from, monitor_to, trigger_name, reason, \
         created_at FROM transitions WHERE service_id = ?1 AND (?2 IS NULL OR created_at >= ?2) \
         AND (?3 IS NULL OR created_at <= ?3) ORDER BY created_at DESC, id DESC LIMIT ?4 OFFSET ?5",
    )?;
    let rows = statement.query_map(params![service_id, range.0, range.1, limit, offset], transition)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn transition(row: &Row<'_>) -> rusqlite::Result<TransitionRow> {
    Ok(TransitionRow {
        id: row.get(0)?,
        service_id: row.get(1)?,
        monitor_id: row.get(2)?,
        from: row.get(3)?,
        to: row.get(4)?,
        monitor_from: row.get(5)?,
        monitor_to: row.get(6)?,
        trigger: row.get(7)?,
        reason: row.get(8)?,
        created_at: row.get(9)?,
    })
}

/// The newest changes of state of all services, newest first by row number.
pub fn newest(db: &Connection, limit: i64) -> Result<Vec<TransitionRow>> {
    let mut statement = db.prepare_cached(
        "SELECT id, service_id, monitor_id, from_state, to_state, monitor_from, monitor_to, trigger_name, reason, \
         created_at FROM transitions WHERE from_state != to_state ORDER BY id DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], transition)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn count(db: &Connection, service_id: &str, range: (Option<Timestamp>, Option<Timestamp>)) -> Result<i64> {
    Ok(db
        .prepare_cached(
            "SELECT count(*) FROM transitions WHERE service_id = ?1 AND (?2 IS NULL OR created_at >= ?2) \
             AND (?3 IS NULL OR created_at <= ?3)",
        )?
        .query_row(params![service_id, range.0, range.1], |row| row.get(0))?)
}

/// Changes of a service's state in a period, oldest first: when, and what it was from then on.
pub fn changes(
    db: &Connection,
    service_id: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(Timestamp, ServiceState)>> {
    let mut statement = db.prepare_cached(
        "SELECT created_at, to_state FROM transitions WHERE service_id = ?1 AND from_state != to_state \
         AND created_at > ?2 AND created_at <= ?3 ORDER BY created_at, id",
    )?;
    let rows = statement.query_map(params![service_id, from, to], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The state of a service at an instant; Unknown before anything happened.
pub fn state_at(db: &Connection, service_id: &str, at: Timestamp) -> Result<ServiceState> {
    let found = super::optional(
        db.prepare_cached(
            "SELECT to_state FROM transitions WHERE service_id = ?1 AND created_at <= ?2 \
             ORDER BY created_at DESC, id DESC LIMIT 1",
        )?
        .query_row(params![service_id, at], |row| row.get(0)),
    )?;
    Ok(found.unwrap_or(ServiceState::Unknown))
}
