//! Readings of metric monitors: the events of type MetricIngested.

use crate::domain::{EventType, Timestamp};
use crate::error::Result;
use rusqlite::{Connection, params};

#[derive(Debug, Clone)]
pub struct Reading {
    pub row: i64,
    pub value: f64,
    pub recorded_at: Timestamp,
    pub out_of_range: bool,
}

const TYPE: EventType = EventType::MetricIngested;

/// The values of the newest `count` readings until `now`; by a clock that was set back, later ones are not the newest.
pub fn last(db: &Connection, monitor_id: &str, count: i64, now: Timestamp) -> Result<Vec<f64>> {
    let mut statement = db.prepare_cached(
        "SELECT value FROM events WHERE monitor_id = ?1 AND event_type = ?2 AND created_at <= ?4 \
         ORDER BY created_at DESC, id DESC LIMIT ?3",
    )?;
    let rows = statement.query_map(params![monitor_id, TYPE, count, now], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The values of all readings after `edge` until `now`.
pub fn since(db: &Connection, monitor_id: &str, edge: Timestamp, now: Timestamp) -> Result<Vec<f64>> {
    let mut statement = db.prepare_cached(
        "SELECT value FROM events WHERE monitor_id = ?1 AND event_type = ?2 AND created_at > ?3 AND created_at <= ?4",
    )?;
    let rows = statement.query_map(params![monitor_id, TYPE, edge, now], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The plus keeps SQLite from the index of types: a monitor has far fewer rows than a type.
const RANGE: &str = "monitor_id = ?1 AND +event_type = ?2 AND (?3 IS NULL OR created_at >= ?3) \
                     AND (?4 IS NULL OR created_at <= ?4)";

/// Newest first; from and to are inclusive.
pub fn page(
    db: &Connection,
    monitor_id: &str,
    range: (Option<Timestamp>, Option<Timestamp>),
    limit: i64,
    offset: i64,
) -> Result<Vec<Reading>> {
    let sql = format!(
        "SELECT id, value, created_at, is_out_of_range FROM events WHERE {RANGE} \
         ORDER BY created_at DESC, id DESC LIMIT ?5 OFFSET ?6"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params![monitor_id, TYPE, range.0, range.1, limit, offset], |row| {
        Ok(Reading { row: row.get(0)?, value: row.get(1)?, recorded_at: row.get(2)?, out_of_range: row.get(3)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn count(db: &Connection, monitor_id: &str, range: (Option<Timestamp>, Option<Timestamp>)) -> Result<i64> {
    Ok(db
        .prepare_cached(&format!("SELECT count(*) FROM events WHERE {RANGE}"))?
        .query_row(params![monitor_id, TYPE, range.0, range.1], |row| row.get(0))?)
}

/// Deletes at most `batch` readings that are older than the keeping time of their monitor. Returns how many.
pub fn delete_expired(db: &Connection, now: Timestamp, batch: i64) -> Result<usize> {
    Ok(db
        .prepare_cached(
            "DELETE FROM events WHERE id IN (SELECT e.id FROM monitors m JOIN events e ON e.monitor_id = m.id \
             AND e.created_at < ?1 - m.retention_days * 86400000000 WHERE m.type = 3 AND +e.event_type = ?2 LIMIT ?3)",
        )?
        .execute(params![now, TYPE, batch])?)
}

/// The newest reading.
pub fn latest(db: &Connection, monitor_id: &str) -> Result<Option<Reading>> {
    Ok(page(db, monitor_id, (None, None), 1, 0)?.pop())
}
