//! Rows of alerts: what there was to say about a service, kept for ever.

use super::optional;
use super::services::ServiceRow;
use crate::domain::{AlertType, Severity, Timestamp};
use crate::error::{Code, Error, Result};
use rusqlite::{Connection, Row, params};

#[derive(Debug, Clone)]
pub struct AlertRow {
    pub id: String,
    pub service_id: String,
    pub service_name: String,
    pub kind: AlertType,
    pub severity: Severity,
    pub message: String,
    pub muted: bool,
    /// When it was handed to the outbox; None while muted.
    pub announced_at: Option<Timestamp>,
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
    pub dispatched_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

const SELECT: &str = "SELECT a.id, a.service_id, s.name, a.type, a.severity, a.message, a.muted, a.announced_at, \
                      a.acknowledged_at, a.acknowledged_by, a.dispatched_at, a.created_at \
                      FROM alerts a JOIN services s ON s.id = a.service_id";

fn from_row(row: &Row<'_>) -> rusqlite::Result<AlertRow> {
    Ok(AlertRow {
        id: row.get(0)?,
        service_id: row.get(1)?,
        service_name: row.get(2)?,
        kind: row.get(3)?,
        severity: row.get(4)?,
        message: row.get(5)?,
        muted: row.get(6)?,
        announced_at: row.get(7)?,
        acknowledged_at: row.get(8)?,
        acknowledged_by: row.get(9)?,
        dispatched_at: row.get(10)?,
        created_at: row.get(11)?,
    })
}

/// Longest message that is stored, in characters.
const MESSAGE_MAX: usize = 2000;

/// Stores an alert of `service`. `muted`: it is not announced now (the outbox gets nothing).
pub fn insert(
    db: &Connection,
    service: &ServiceRow,
    kind: AlertType,
    message: &str,
    muted: bool,
    now: Timestamp,
) -> Result<AlertRow> {
    let alert = AlertRow {
        id: uuid::Uuid::now_v7().to_string(),
        service_id: service.id.clone(),
        service_name: service.name.clone(),
        kind,
        severity: service.severity,
        message: message.chars().take(MESSAGE_MAX).collect(),
        muted,
        announced_at: (!muted).then_some(now),
        acknowledged_at: None,
        acknowledged_by: None,
        dispatched_at: None,
        created_at: now,
    };
    db.prepare_cached(
        "INSERT INTO alerts (id, service_id, type, severity, message, muted, announced_at, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        alert.id,
        alert.service_id,
        alert.kind,
        alert.severity,
        alert.message,
        alert.muted,
        alert.announced_at,
        alert.created_at
    ])?;
    Ok(alert)
}

pub fn find(db: &Connection, id: &str) -> Result<Option<AlertRow>> {
    optional(db.prepare_cached(&format!("{SELECT} WHERE a.id = ?1"))?.query_row([id], from_row))
}

/// Like [`find`], but absence is ALERT_NOT_FOUND.
pub fn get(db: &Connection, id: &str) -> Result<AlertRow> {
    find(db, id)?.ok_or_else(|| Error::refused(Code::AlertNotFound, "there is no such alert"))
}

/// The newest alert of a service.
pub fn latest(db: &Connection, service_id: &str) -> Result<Option<AlertRow>> {
    let sql = format!("{SELECT} WHERE a.service_id = ?1 ORDER BY a.created_at DESC, a.seq DESC LIMIT 1");
    optional(db.prepare_cached(&sql)?.query_row([service_id], from_row))
}

/// Marks a muted alert as announced at `now`.
pub fn release(db: &Connection, id: &str, now: Timestamp) -> Result<()> {
    db.prepare_cached("UPDATE alerts SET muted = 0, announced_at = ?2 WHERE id = ?1")?.execute(params![id, now])?;
    Ok(())
}

/// False if it was acknowledged before.
pub fn acknowledge(db: &Connection, id: &str, by: &str, now: Timestamp) -> Result<bool> {
    let changed = db
        .prepare_cached(
            "UPDATE alerts SET acknowledged_at = ?2, acknowledged_by = ?3 WHERE id = ?1 AND acknowledged_at IS NULL",
        )?
        .execute(params![id, now, by])?;
    Ok(changed > 0)
}

/// What the list can be narrowed to; from and to are inclusive.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub service_id: Option<String>,
    pub kind: Option<AlertType>,
    pub severity: Option<Severity>,
    pub acknowledged: Option<bool>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

const WHERE: &str = "(?1 IS NULL OR a.service_id = ?1) AND (?2 IS NULL OR a.type = ?2) \
                     AND (?3 IS NULL OR a.severity = ?3) AND (?4 IS NULL OR (a.acknowledged_at IS NOT NULL) = ?4) \
                     AND (?5 IS NULL OR a.created_at >= ?5) AND (?6 IS NULL OR a.created_at <= ?6)";

/// Newest first.
pub fn page(db: &Connection, filter: &Filter, limit: i64, offset: i64) -> Result<Vec<AlertRow>> {
    let sql = format!("{SELECT} WHERE {WHERE} ORDER BY a.created_at DESC, a.seq DESC LIMIT ?7 OFFSET ?8");
    let mut statement = db.prepare_cached(&sql)?;
    let f = filter;
    let values = params![f.service_id, f.kind, f.severity, f.acknowledged, f.from, f.to, limit, offset];
    let rows = statement.query_map(values, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn count(db: &Connection, filter: &Filter) -> Result<i64> {
    let f = filter;
    Ok(db
        .prepare_cached(&format!("SELECT count(*) FROM alerts a WHERE {WHERE}"))?
        .query_row(params![f.service_id, f.kind, f.severity, f.acknowledged, f.from, f.to], |row| row.get(0))?)
}
