//! What monitors received. Readings of metric monitors are the events of type MetricIngested.

use crate::domain::{EventType, Timestamp};
use crate::error::Result;
use crate::store::monitors::MonitorRow;
use rusqlite::{Connection, Row, params};

/// One thing that a monitor received (or did).
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    pub kind: EventType,
    pub success: bool,
    pub value: Option<f64>,
    pub out_of_range: bool,
    pub message: Option<&'a str>,
}

/// Longest message that is stored, in characters.
const MESSAGE_MAX: usize = 2000;

/// Stores the event and returns its row number, which grows with time.
pub fn insert(db: &Connection, monitor: &MonitorRow, event: &NewEvent<'_>, now: Timestamp) -> Result<i64> {
    let message: Option<String> = event.message.map(|text| text.chars().take(MESSAGE_MAX).collect());
    db.prepare_cached(
        "INSERT INTO events (monitor_id, service_id, event_type, success, value, is_out_of_range, message, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        monitor.id,
        monitor.service_id,
        event.kind,
        event.success,
        event.value,
        event.out_of_range,
        message,
        now
    ])?;
    Ok(db.last_insert_rowid())
}

/// The id of an event as clients see it: a UUID made of its instant and row number, so rows need no second key.
pub fn public_id(row: i64, at: Timestamp) -> String {
    let bits = (u128::from(at.micros().cast_unsigned()) << 64) | u128::from(row.cast_unsigned());
    uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid().to_string()
}

/// An event as it is listed. A change of state is one too; its monitor is None when the operator caused it.
#[derive(Debug, Clone)]
pub struct EventRow {
    pub id: String,
    pub monitor_id: Option<String>,
    pub service_id: String,
    pub kind: EventType,
    pub success: bool,
    pub value: Option<f64>,
    pub out_of_range: bool,
    pub message: Option<String>,
    pub created_at: Timestamp,
}

/// What a list can be narrowed to; from and to are inclusive.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    pub kind: Option<EventType>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub limit: i64,
}

/// Events of a monitor, newest first.
pub fn of_monitor(db: &Connection, monitor_id: &str, filter: &Filter) -> Result<Vec<EventRow>> {
    let mut statement = db.prepare_cached(
        "SELECT id, monitor_id, service_id, event_type, success, value, is_out_of_range, message, created_at FROM events \
         WHERE monitor_id = ?1 AND (?2 IS NULL OR event_type = ?2) AND created_at >= ?3 AND created_at <= ?4 \
         ORDER BY created_at DESC, id DESC LIMIT ?5",
    )?;
    let (from, to) = (filter.from.unwrap_or_default(), filter.to.unwrap_or(Timestamp::from_micros(i64::MAX)));
    let rows = statement.query_map(params![monitor_id, filter.kind, from, to, filter.limit], event)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn event(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    let created_at = row.get(8)?;
    Ok(EventRow {
        id: public_id(row.get(0)?, created_at),
        monitor_id: row.get(1)?,
        service_id: row.get(2)?,
        kind: row.get(3)?,
        success: row.get(4)?,
        value: row.get(5)?,
        out_of_range: row.get(6)?,
        message: row.get(7)?,
        created_at,
    })
}

/// The newest events of all monitors, newest first by row number: there may be millions, so nothing is sorted.
pub fn newest(db: &Connection, kind: Option<EventType>, limit: i64) -> Result<Vec<EventRow>> {
    let narrowed = if kind.is_some() { "event_type = ?1" } else { "?1 IS NULL" };
    let mut statement = db.prepare_cached(&format!(
        "SELECT id, monitor_id, service_id, event_type, success, value, is_out_of_range, message, created_at FROM events \
         WHERE {narrowed} ORDER BY id DESC LIMIT ?2"
    ))?;
    let rows = statement.query_map(params![kind, limit], event)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many events of a service's monitors there were, and how many of them were successes.
pub fn count_of_service(db: &Connection, service_id: &str, from: Timestamp, to: Timestamp) -> Result<(i64, i64)> {
    Ok(db
        .prepare_cached(
            "SELECT count(*), coalesce(sum(e.success), 0) FROM monitors m JOIN events e ON e.monitor_id = m.id \
             AND e.created_at >= ?2 AND e.created_at <= ?3 WHERE m.service_id = ?1",
        )?
        .query_row(params![service_id, from, to], |row| Ok((row.get(0)?, row.get(1)?)))?)
}
