//! Rows of monitors.

use super::optional;
use crate::domain::metric::Thresholds;
use crate::domain::{MonitorState, MonitorType, ThresholdStrategy, Timestamp, token};
use crate::error::{Code, Error, Result};
use rusqlite::{Connection, Row, params};

#[derive(Debug, Clone)]
pub struct MonitorRow {
    pub id: String,
    pub service_id: String,
    pub kind: MonitorType,
    pub token: String,
    pub state: MonitorState,
    pub settings: MonitorSettings,
    pub last_check_in: Option<Timestamp>,
    pub deadline: Option<Timestamp>,
    pub last_metric_value: Option<f64>,
    pub last_metric_at: Option<Timestamp>,
    pub last_out_of_range: Option<bool>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The part of a monitor that a client sets. Fields of other types than the monitor's are None.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorSettings {
    pub interval_seconds: i64,
    pub grace_period_seconds: i64,
    pub thresholds: Thresholds,
    pub retention_days: i64,
    pub health_check: Option<HealthCheck>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    pub url: String,
    /// Upper-case: GET, HEAD, POST or PUT.
    pub method: String,
    /// Comma-separated numbers, as given.
    pub expected_status_codes: String,
    pub timeout_seconds: i64,
    pub body_match_regex: Option<String>,
}

impl MonitorSettings {
    /// Settings of a monitor that has only a rhythm (webhook, heartbeat).
    pub fn timed(interval_seconds: i64, grace_period_seconds: i64) -> Self {
        let thresholds = Thresholds {
            min: None,
            max: None,
            strategy: ThresholdStrategy::Immediate,
            count: None,
            window_seconds: None,
            window_samples: None,
        };
        Self { interval_seconds, grace_period_seconds, thresholds, retention_days: 7, health_check: None }
    }
}

impl MonitorRow {
    /// When a heartbeat counts as missed if nothing is heard after `from`.
    pub fn deadline_after(&self, from: Timestamp) -> Timestamp {
        from.plus_seconds(self.settings.interval_seconds.saturating_add(self.settings.grace_period_seconds))
    }
}

const COLUMNS: &str = "id, service_id, type, token, state, interval_seconds, grace_period_seconds, last_check_in_at, \
                       deadline_at, min_value, max_value, threshold_strategy, threshold_count, window_seconds, \
                       window_sample_count, retention_days, last_metric_value, last_metric_at, last_out_of_range, \
                       health_check_url, http_method, expected_status_codes, timeout_seconds, body_match_regex, \
                       created_at, updated_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<MonitorRow> {
    Ok(MonitorRow {
        id: row.get(0)?,
        service_id: row.get(1)?,
        kind: row.get(2)?,
        token: row.get(3)?,
        state: row.get(4)?,
        settings: settings_from_row(row)?,
        last_check_in: row.get(7)?,
        deadline: row.get(8)?,
        last_metric_value: row.get(16)?,
        last_metric_at: row.get(17)?,
        last_out_of_range: row.get(18)?,
        created_at: row.get(24)?,
        updated_at: row.get(25)?,
    })
}

fn settings_from_row(row: &Row<'_>) -> rusqlite::Result<MonitorSettings> {
    let thresholds = Thresholds {
        min: row.get(9)?,
        max: row.get(10)?,
        strategy: row.get(11)?,
        count: row.get(12)?,
        window_seconds: row.get(13)?,
        window_samples: row.get(14)?,
    };
    let health_check = match row.get::<_, Option<String>>(19)? {
        None => None,
        Some(url) => Some(HealthCheck {
            url,
            method: row.get(20)?,
            expected_status_codes: row.get(21)?,
            timeout_seconds: row.get(22)?,
            body_match_regex: row.get(23)?,
        }),
    };
    Ok(MonitorSettings {
        interval_seconds: row.get(5)?,
        grace_period_seconds: row.get(6)?,
        thresholds,
        retention_days: row.get(15)?,
        health_check,
    })
}

fn select(db: &Connection, condition: &str, values: impl rusqlite::Params) -> Result<Vec<MonitorRow>> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM monitors WHERE {condition}"))?;
    let rows = statement.query_map(values, from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn find(db: &Connection, id: &str) -> Result<Option<MonitorRow>> {
    Ok(select(db, "id = ?1", [id])?.pop())
}

/// Like [`find`], but absence is MONITOR_NOT_FOUND.
pub fn get(db: &Connection, id: &str) -> Result<MonitorRow> {
    find(db, id)?.ok_or_else(|| Error::refused(Code::MonitorNotFound, "there is no such monitor"))
}

/// The monitor of a token. The look-up goes by hash and the token itself is compared in constant time.
pub fn find_by_token(db: &Connection, text: &str) -> Result<Option<MonitorRow>> {
    let found = select(db, "token_hash = ?1", params![&token::sha256(text)[..]])?.pop();
    Ok(found.filter(|monitor| token::same_secret(&monitor.token, text)))
}

/// Oldest first.
pub fn of_service(db: &Connection, service_id: &str) -> Result<Vec<MonitorRow>> {
    select(db, "service_id = ?1 ORDER BY created_at, rowid", [service_id])
}

/// Monitors of several services (ids as they stand in the list), oldest first within a service.
pub fn of_services(db: &Connection, service_ids: &[String]) -> Result<Vec<MonitorRow>> {
    let ids = serde_json::to_string(service_ids).map_err(Error::internal)?;
    select(db, "service_id IN (SELECT value FROM json_each(?1)) ORDER BY created_at, rowid", [ids])
}

/// Health-check monitors whose next check is due; those of paused services wait. A clock that was set back stops nothing.
pub fn due_health_checks(db: &Connection, now: Timestamp) -> Result<Vec<MonitorRow>> {
    let condition = "type = 2 AND (last_check_in_at IS NULL OR last_check_in_at > ?1 + 60000000 \
                     OR last_check_in_at + interval_seconds * 1000000 <= ?1) \
                     AND service_id IN (SELECT id FROM services WHERE state != 3)";
    select(db, condition, params![now])
}

pub fn states(db: &Connection, service_id: &str) -> Result<Vec<MonitorState>> {
    let mut statement = db.prepare_cached("SELECT state FROM monitors WHERE service_id = ?1")?;
    let rows = statement.query_map([service_id], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Stores a monitor in state Unknown with a fresh token.
pub fn insert(
    db: &Connection,
    service_id: &str,
    kind: MonitorType,
    settings: &MonitorSettings,
    now: Timestamp,
) -> Result<MonitorRow> {
    let id = uuid::Uuid::now_v7().to_string();
    let token = token::new_token();
    db.prepare_cached(
        "INSERT INTO monitors (id, service_id, type, token, token_hash, interval_seconds, grace_period_seconds, \
         created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
    )?
    .execute(params![
        id,
        service_id,
        kind,
        token,
        &token::sha256(&token)[..],
        settings.interval_seconds,
        settings.grace_period_seconds,
        now
    ])?;
    update(db, &id, settings, now)?;
    get(db, &id)
}

pub fn update(db: &Connection, id: &str, settings: &MonitorSettings, now: Timestamp) -> Result<()> {
    let thresholds = &settings.thresholds;
    let check = settings.health_check.as_ref();
    db.prepare_cached(
        "UPDATE monitors SET interval_seconds = ?2, grace_period_seconds = ?3, min_value = ?4, max_value = ?5, \
         threshold_strategy = ?6, threshold_count = ?7, window_seconds = ?8, window_sample_count = ?9, \
         retention_days = ?10, health_check_url = ?11, http_method = ?12, expected_status_codes = ?13, \
         timeout_seconds = ?14, body_match_regex = ?15, updated_at = ?16 WHERE id = ?1",
    )?
    .execute(params![
        id,
        settings.interval_seconds,
        settings.grace_period_seconds,
        thresholds.min,
        thresholds.max,
        thresholds.strategy,
        thresholds.count,
        thresholds.window_seconds,
        thresholds.window_samples,
        settings.retention_days,
        check.map(|check| &check.url),
        check.map(|check| &check.method),
        check.map(|check| &check.expected_status_codes),
        check.map(|check| check.timeout_seconds),
        check.and_then(|check| check.body_match_regex.as_ref()),
        now
    ])?;
    Ok(())
}

pub fn delete(db: &Connection, id: &str) -> Result<bool> {
    Ok(db.prepare_cached("DELETE FROM monitors WHERE id = ?1")?.execute([id])? > 0)
}

pub fn set_token(db: &Connection, id: &str, token: &str, now: Timestamp) -> Result<()> {
    db.prepare_cached("UPDATE monitors SET token = ?2, token_hash = ?3, updated_at = ?4 WHERE id = ?1")?
        .execute(params![id, token, &token::sha256(token)[..], now])?;
    Ok(())
}

pub fn set_state(db: &Connection, id: &str, state: MonitorState, now: Timestamp) -> Result<()> {
    db.prepare_cached("UPDATE monitors SET state = ?2, updated_at = ?3 WHERE id = ?1")?
        .execute(params![id, state, now])?;
    Ok(())
}

/// All monitors of a service back to Unknown, after a pause.
pub fn reset_states(db: &Connection, service_id: &str, now: Timestamp) -> Result<()> {
    db.prepare_cached("UPDATE monitors SET state = 0, updated_at = ?2 WHERE service_id = ?1")?
        .execute(params![service_id, now])?;
    Ok(())
}

pub fn set_check_in(db: &Connection, id: &str, at: Timestamp, deadline: Option<Timestamp>) -> Result<()> {
    db.prepare_cached("UPDATE monitors SET last_check_in_at = ?2, deadline_at = ?3 WHERE id = ?1")?
        .execute(params![id, at, deadline])?;
    Ok(())
}

pub fn set_deadline(db: &Connection, id: &str, deadline: Option<Timestamp>) -> Result<()> {
    db.prepare_cached("UPDATE monitors SET deadline_at = ?2 WHERE id = ?1")?.execute(params![id, deadline])?;
    Ok(())
}

pub fn set_last_metric(db: &Connection, id: &str, value: f64, out_of_range: bool, at: Timestamp) -> Result<()> {
    db.prepare_cached(
        "UPDATE monitors SET last_metric_value = ?2, last_out_of_range = ?3, last_metric_at = ?4, \
         last_check_in_at = ?4 WHERE id = ?1",
    )?
    .execute(params![id, value, out_of_range, at])?;
    Ok(())
}

/// Every armed deadline, for the timer wheel at start.
pub fn deadlines(db: &Connection) -> Result<Vec<(String, Timestamp)>> {
    let mut statement = db.prepare_cached("SELECT id, deadline_at FROM monitors WHERE deadline_at IS NOT NULL")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// After our own downtime: whoever would have been late by now gets a full interval and grace from `now`.
pub fn restart_deadlines(db: &Connection, now: Timestamp) -> Result<usize> {
    Ok(db.execute(
        "UPDATE monitors SET deadline_at = ?1 + (interval_seconds + grace_period_seconds) * 1000000 \
         WHERE deadline_at IS NOT NULL",
        params![now],
    )?)
}

pub fn count_by_type(db: &Connection) -> Result<[i64; 4]> {
    let mut counts = [0; 4];
    let mut statement = db.prepare_cached("SELECT type, count(*) FROM monitors GROUP BY type")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let kind: MonitorType = row.get(0)?;
        counts[kind as usize] = row.get(1)?;
    }
    Ok(counts)
}

/// How many monitors a service has.
pub fn count_of_service(db: &Connection, service_id: &str) -> Result<i64> {
    optional(
        db.prepare_cached("SELECT count(*) FROM monitors WHERE service_id = ?1")?
            .query_row([service_id], |row| row.get(0)),
    )
    .map(Option::unwrap_or_default)
}
