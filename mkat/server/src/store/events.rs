//! What monitors received. Readings of metric monitors are the events of type MetricIngested.

use crate::domain::{EventType, Timestamp};
use crate::error::Result;
use crate::store::monitors::MonitorRow;
use rusqlite::{Connection, params};

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
