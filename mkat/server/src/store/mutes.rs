//! Rows of mute windows. A window is active at t when starts_at <= t < ends_at; several may overlap.

use super::optional;
use crate::domain::Timestamp;
use crate::error::Result;
use rusqlite::{Connection, params};

#[derive(Debug, Clone)]
pub struct MuteRow {
    pub id: String,
    pub service_id: String,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub reason: Option<String>,
    pub created_at: Timestamp,
}

pub fn insert(
    db: &Connection,
    service_id: &str,
    starts_at: Timestamp,
    ends_at: Timestamp,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<String> {
    let id = uuid::Uuid::now_v7().to_string();
    db.prepare_cached(
        "INSERT INTO mute_windows (id, service_id, starts_at, ends_at, reason, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![id, service_id, starts_at, ends_at, reason, now])?;
    Ok(id)
}

pub fn is_muted(db: &Connection, service_id: &str, at: Timestamp) -> Result<bool> {
    Ok(db
        .prepare_cached(
            "SELECT 1 FROM mute_windows WHERE service_id = ?1 AND ends_at > ?2 AND starts_at <= ?2 LIMIT 1",
        )?
        .exists(params![service_id, at])?)
}

/// Windows of a service that have not ended at `now`, the first to end first.
pub fn open(db: &Connection, service_id: &str, now: Timestamp) -> Result<Vec<MuteRow>> {
    let mut statement = db.prepare_cached(
        "SELECT id, service_id, starts_at, ends_at, reason, created_at FROM mute_windows \
         WHERE service_id = ?1 AND ends_at > ?2 ORDER BY ends_at",
    )?;
    let rows = statement.query_map(params![service_id, now], |row| {
        Ok(MuteRow {
            id: row.get(0)?,
            service_id: row.get(1)?,
            starts_at: row.get(2)?,
            ends_at: row.get(3)?,
            reason: row.get(4)?,
            created_at: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Ends all windows of a service now; windows still to come are ended before they begin. Returns how many.
pub fn end_all(db: &Connection, service_id: &str, now: Timestamp) -> Result<usize> {
    Ok(db
        .prepare_cached("UPDATE mute_windows SET ends_at = ?2 WHERE service_id = ?1 AND ends_at > ?2")?
        .execute(params![service_id, now])?)
}

/// Services with a window that ended by `now` and was not looked at; the windows are marked as looked at.
pub fn take_ended(db: &Connection, now: Timestamp) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "UPDATE mute_windows SET settled = 1 WHERE settled = 0 AND ends_at <= ?1 RETURNING service_id",
    )?;
    let rows = statement.query_map(params![now], |row| row.get(0))?;
    let mut services: Vec<String> = rows.collect::<rusqlite::Result<_>>()?;
    services.sort_unstable();
    services.dedup();
    Ok(services)
}

pub fn next_end(db: &Connection) -> Result<Option<Timestamp>> {
    optional(
        db.prepare_cached("SELECT min(ends_at) FROM mute_windows WHERE settled = 0")?.query_row([], |row| row.get(0)),
    )
    .map(Option::flatten)
}
