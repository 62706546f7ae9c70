//! Rows of Alertmanager receivers, of the services they stand for, and of the alerts that fire in them.

use super::optional;
use crate::domain::{Severity, Timestamp, token};
use crate::error::{Code, Error, Result};
use rusqlite::{Connection, Row, params};

#[derive(Debug, Clone)]
pub struct ReceiverRow {
    pub id: String,
    pub token: String,
    pub settings: ReceiverSettings,
    /// SHA-256 of the secret that senders must show.
    pub bearer_hash: Option<[u8; 32]>,
    pub created_at: Timestamp,
    /// Alerts that the sender left out of a message, and SHA-256 of its group's key. What they concern may be worse than shown.
    pub truncated: i64,
    pub truncated_group: Option<[u8; 32]>,
}

#[derive(Debug, Clone)]
pub struct ReceiverSettings {
    pub name: String,
    pub service_template: String,
    /// Services made for alerts; what comes beyond goes to one more.
    pub max_services: i64,
    /// A firing alert that is not repeated for so long counts as resolved.
    pub expire_seconds: i64,
    /// Name of the alert that always fires; empty for none.
    pub watchdog_alert: String,
    pub watchdog_seconds: i64,
}

const RECEIVER: &str = "SELECT id, token, name, service_template, max_services, expire_seconds, watchdog_alert, \
                        watchdog_seconds, bearer_hash, created_at, truncated, truncated_group FROM alertmanager_receivers";

fn receiver(row: &Row<'_>) -> rusqlite::Result<ReceiverRow> {
    Ok(ReceiverRow {
        id: row.get(0)?,
        token: row.get(1)?,
        settings: ReceiverSettings {
            name: row.get(2)?,
            service_template: row.get(3)?,
            max_services: row.get(4)?,
            expire_seconds: row.get(5)?,
            watchdog_alert: row.get(6)?,
            watchdog_seconds: row.get(7)?,
        },
        bearer_hash: row.get(8)?,
        created_at: row.get(9)?,
        truncated: row.get(10)?,
        truncated_group: row.get(11)?,
    })
}

pub fn list(db: &Connection) -> Result<Vec<ReceiverRow>> {
    let mut statement = db.prepare_cached(&format!("{RECEIVER} ORDER BY name"))?;
    let rows = statement.query_map([], receiver)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Absence is RECEIVER_NOT_FOUND.
pub fn get(db: &Connection, id: &str) -> Result<ReceiverRow> {
    optional(db.prepare_cached(&format!("{RECEIVER} WHERE id = ?1"))?.query_row([id], receiver))?
        .ok_or_else(|| Error::refused(Code::ReceiverNotFound, "there is no such receiver"))
}

/// The receiver of a token. The look-up goes by hash and the token itself is compared in constant time.
pub fn find_by_token(db: &Connection, text: &str) -> Result<Option<ReceiverRow>> {
    let sql = format!("{RECEIVER} WHERE token_hash = ?1");
    let found = optional(db.prepare_cached(&sql)?.query_row([&token::sha256(text)[..]], receiver))?;
    Ok(found.filter(|row| token::same_secret(&row.token, text)))
}

pub fn insert(db: &Connection, new: &ReceiverSettings, bearer: Option<[u8; 32]>, now: Timestamp) -> Result<String> {
    let (id, token) = (uuid::Uuid::now_v7().to_string(), token::new_token());
    let hash = token::sha256(&token);
    db.prepare_cached(
        "INSERT INTO alertmanager_receivers (id, token, token_hash, bearer_hash, name, service_template, max_services, \
         expire_seconds, watchdog_alert, watchdog_seconds, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, \
         ?10, ?11)",
    )?
    .execute(params![
        id,
        token,
        &hash[..],
        bearer,
        new.name,
        new.service_template,
        new.max_services,
        new.expire_seconds,
        new.watchdog_alert,
        new.watchdog_seconds,
        now
    ])
    .map_err(name_taken)?;
    Ok(id)
}

pub fn update(db: &Connection, id: &str, new: &ReceiverSettings, bearer: Option<[u8; 32]>) -> Result<()> {
    db.prepare_cached(
        "UPDATE alertmanager_receivers SET name = ?2, service_template = ?3, max_services = ?4, expire_seconds = ?5, \
         watchdog_alert = ?6, watchdog_seconds = ?7, bearer_hash = ?8 WHERE id = ?1",
    )?
    .execute(params![
        id,
        new.name,
        new.service_template,
        new.max_services,
        new.expire_seconds,
        new.watchdog_alert,
        new.watchdog_seconds,
        bearer
    ])
    .map_err(name_taken)?;
    Ok(())
}

/// Gives a receiver a new token; the old one is unknown from now on.
pub fn rotate_token(db: &Connection, id: &str) -> Result<()> {
    let token = token::new_token();
    db.prepare_cached("UPDATE alertmanager_receivers SET token = ?2, token_hash = ?3 WHERE id = ?1")?
        .execute(params![id, token, &token::sha256(&token)[..]])?;
    Ok(())
}

/// Notes how many alerts were left out of a group's message; 0: none.
pub fn set_truncated(db: &Connection, id: &str, count: i64, group: Option<[u8; 32]>) -> Result<()> {
    db.prepare_cached("UPDATE alertmanager_receivers SET truncated = ?2, truncated_group = ?3 WHERE id = ?1")?
        .execute(params![id, count, group])?;
    Ok(())
}

pub fn delete(db: &Connection, id: &str) -> Result<()> {
    db.prepare_cached("DELETE FROM alertmanager_receivers WHERE id = ?1")?.execute([id])?;
    Ok(())
}

fn name_taken(error: rusqlite::Error) -> Error {
    match &error {
        rusqlite::Error::SqliteFailure(failure, Some(text))
            if failure.code == rusqlite::ErrorCode::ConstraintViolation && text.contains("receivers.name") =>
        {
            Error::refused(Code::ReceiverNameTaken, "another receiver has this name")
        }
        _ => error.into(),
    }
}

/// Where alerts of a key go.
#[derive(Debug, Clone)]
pub struct Place {
    pub service_id: String,
    pub monitor_id: String,
}

fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { service_id: row.get(0)?, monitor_id: row.get(1)? })
}

pub fn find_place(db: &Connection, receiver_id: &str, key: &str) -> Result<Option<Place>> {
    let sql = "SELECT service_id, monitor_id FROM alertmanager_services WHERE receiver_id = ?1 AND key = ?2";
    optional(db.prepare_cached(sql)?.query_row([receiver_id, key], place))
}

pub fn places(db: &Connection, receiver_id: &str) -> Result<Vec<Place>> {
    let sql = "SELECT service_id, monitor_id FROM alertmanager_services WHERE receiver_id = ?1 ORDER BY key";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([receiver_id], place)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn count_places(db: &Connection, receiver_id: &str) -> Result<i64> {
    let sql = "SELECT count(*) FROM alertmanager_services WHERE receiver_id = ?1 AND key LIKE 'service:%'";
    Ok(db.prepare_cached(sql)?.query_row([receiver_id], |row| row.get(0))?)
}

pub fn add_place(db: &Connection, receiver_id: &str, key: &str, place: &Place) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO alertmanager_services (receiver_id, key, service_id, monitor_id) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute([receiver_id, key, &place.service_id, &place.monitor_id])?;
    Ok(())
}

/// An alert of Alertmanager as it was last heard of.
#[derive(Debug, Clone)]
pub struct AlertRow {
    pub fingerprint: String,
    pub starts_at: Timestamp,
    pub monitor_id: String,
    pub severity: Severity,
    pub summary: String,
    pub labels_json: String,
    pub last_seen_at: Timestamp,
}

const ALERT: &str = "SELECT fingerprint, starts_at, monitor_id, severity, summary, labels_json, last_seen_at \
                     FROM alertmanager_alerts";

fn alert(row: &Row<'_>) -> rusqlite::Result<AlertRow> {
    Ok(AlertRow {
        fingerprint: row.get(0)?,
        starts_at: row.get(1)?,
        monitor_id: row.get(2)?,
        severity: row.get(3)?,
        summary: row.get(4)?,
        labels_json: row.get(5)?,
        last_seen_at: row.get(6)?,
    })
}

/// What fires in a monitor, the worst and oldest first.
pub fn firing_in(db: &Connection, monitor_id: &str) -> Result<Vec<AlertRow>> {
    let sql = format!("{ALERT} WHERE monitor_id = ?1 AND firing = 1 ORDER BY severity DESC, starts_at, fingerprint");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map([monitor_id], alert)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What fires in a receiver, the newest first.
pub fn firing_of(db: &Connection, receiver_id: &str, limit: i64) -> Result<Vec<AlertRow>> {
    let sql = format!("{ALERT} WHERE receiver_id = ?1 AND firing = 1 ORDER BY starts_at DESC, fingerprint LIMIT ?2");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params![receiver_id, limit], alert)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn count_firing(db: &Connection, receiver_id: &str) -> Result<i64> {
    let sql = "SELECT count(*) FROM alertmanager_alerts WHERE receiver_id = ?1 AND firing = 1";
    Ok(db.prepare_cached(sql)?.query_row([receiver_id], |row| row.get(0))?)
}

/// The monitor in which a fingerprint fires.
pub fn firing_monitor(db: &Connection, receiver_id: &str, fingerprint: &str) -> Result<Option<String>> {
    let sql = "SELECT monitor_id FROM alertmanager_alerts WHERE receiver_id = ?1 AND fingerprint = ?2 AND firing = 1 \
               ORDER BY starts_at DESC LIMIT 1";
    optional(db.prepare_cached(sql)?.query_row([receiver_id, fingerprint], |row| row.get(0)))
}

/// Whether the alert that started at `starts_at` was resolved after `since`: then a firing report of it was overtaken.
pub fn resolved_since(
    db: &Connection,
    receiver_id: &str,
    fingerprint: &str,
    starts_at: Timestamp,
    since: Timestamp,
) -> Result<bool> {
    let sql = "SELECT 1 FROM alertmanager_alerts WHERE receiver_id = ?1 AND fingerprint = ?2 AND starts_at >= ?3 \
               AND firing = 0 AND last_seen_at > ?4";
    Ok(db.prepare_cached(sql)?.exists(params![receiver_id, fingerprint, starts_at, since])?)
}

/// Notes a firing alert.
pub fn fire(db: &Connection, receiver_id: &str, row: &AlertRow) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO alertmanager_alerts (receiver_id, fingerprint, starts_at, monitor_id, firing, severity, summary, \
         labels_json, last_seen_at) VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8) \
         ON CONFLICT (receiver_id, fingerprint, starts_at) DO UPDATE SET monitor_id = excluded.monitor_id, firing = 1, \
         severity = excluded.severity, summary = excluded.summary, labels_json = excluded.labels_json, \
         last_seen_at = excluded.last_seen_at, ends_at = NULL",
    )?
    .execute(params![
        receiver_id,
        row.fingerprint,
        row.starts_at,
        row.monitor_id,
        row.severity,
        row.summary,
        row.labels_json,
        row.last_seen_at
    ])?;
    Ok(())
}

/// Ends what fires under a fingerprint and started no later than `ends_at`. Returns the monitors concerned.
pub fn resolve(
    db: &Connection,
    receiver_id: &str,
    fingerprint: &str,
    ends_at: Timestamp,
    now: Timestamp,
) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "UPDATE alertmanager_alerts SET firing = 0, ends_at = ?3, last_seen_at = ?4 WHERE receiver_id = ?1 \
         AND fingerprint = ?2 AND firing = 1 AND starts_at <= ?3 RETURNING monitor_id",
    )?;
    let rows = statement.query_map(params![receiver_id, fingerprint, ends_at, now], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Ends what fires and was not repeated for the time that its receiver allows. Returns the monitors concerned.
pub fn expire(db: &Connection, now: Timestamp) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "UPDATE alertmanager_alerts SET firing = 0, ends_at = ?1 WHERE firing = 1 AND last_seen_at < ?1 - 1000000 * \
         (SELECT expire_seconds FROM alertmanager_receivers r WHERE r.id = receiver_id) RETURNING monitor_id",
    )?;
    let rows = statement.query_map(params![now], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Monitors in which something fires although they are not Down and their service is not paused: a pause ended.
pub fn unsettled(db: &Connection) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "SELECT DISTINCT m.id FROM alertmanager_alerts a JOIN monitors m ON m.id = a.monitor_id \
         JOIN services s ON s.id = m.service_id WHERE a.firing = 1 AND m.state != 2 AND s.state != 3",
    )?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Forgets alerts that ended before `edge`.
pub fn forget(db: &Connection, edge: Timestamp) -> Result<usize> {
    let sql = "DELETE FROM alertmanager_alerts WHERE firing = 0 AND last_seen_at < ?1";
    Ok(db.prepare_cached(sql)?.execute(params![edge])?)
}
