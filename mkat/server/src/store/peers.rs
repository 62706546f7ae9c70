//! Rows of paired instances, and of the secrets with which others may pair with us.

use super::optional;
use crate::domain::Timestamp;
use crate::error::{Code, Error, Result};
use rusqlite::{Connection, Row, params};

#[derive(Debug, Clone)]
pub struct PeerRow {
    pub id: String,
    pub name: String,
    pub url: String,
    /// The peer's tokens that we use; empty when it told us none.
    pub heartbeat_token: String,
    pub webhook_token: String,
    /// Our service that stands for the peer.
    pub service_id: String,
    pub two_way: bool,
    /// How often we send.
    pub interval_seconds: i64,
    pub last_sent_at: Option<Timestamp>,
    pub last_success_at: Option<Timestamp>,
    pub last_error: Option<String>,
    /// The peer does not know our token any more.
    pub forgotten: bool,
    /// What we last told the peer about our notifications.
    pub reported_broken: bool,
    pub paired_at: Timestamp,
}

const SELECT: &str = "SELECT id, name, url, heartbeat_token, webhook_token, service_id, two_way, \
                      heartbeat_interval_seconds, last_sent_at, last_success_at, last_error, forgotten, \
                      reported_broken, paired_at FROM peers";

fn from_row(row: &Row<'_>) -> rusqlite::Result<PeerRow> {
    Ok(PeerRow {
        id: row.get(0)?,
        name: row.get(1)?,
        url: row.get(2)?,
        heartbeat_token: row.get(3)?,
        webhook_token: row.get(4)?,
        service_id: row.get(5)?,
        two_way: row.get(6)?,
        interval_seconds: row.get(7)?,
        last_sent_at: row.get(8)?,
        last_success_at: row.get(9)?,
        last_error: row.get(10)?,
        forgotten: row.get(11)?,
        reported_broken: row.get(12)?,
        paired_at: row.get(13)?,
    })
}

/// What is known when a peer is paired.
#[derive(Debug, Clone)]
pub struct NewPeer {
    pub name: String,
    pub url: String,
    pub heartbeat_token: String,
    pub webhook_token: String,
    pub two_way: bool,
    pub interval_seconds: i64,
}

pub fn insert(db: &Connection, new: &NewPeer, service_id: &str, now: Timestamp) -> Result<PeerRow> {
    let id = uuid::Uuid::now_v7().to_string();
    db.prepare_cached(
        "INSERT INTO peers (id, name, url, heartbeat_token, webhook_token, service_id, two_way, \
         heartbeat_interval_seconds, paired_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        id,
        new.name,
        new.url,
        new.heartbeat_token,
        new.webhook_token,
        service_id,
        new.two_way,
        new.interval_seconds,
        now
    ])?;
    get(db, &id)
}

/// In the order of pairing.
pub fn list(db: &Connection) -> Result<Vec<PeerRow>> {
    let mut statement = db.prepare_cached(&format!("{SELECT} ORDER BY paired_at, id"))?;
    let rows = statement.query_map([], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Absence is PEER_NOT_FOUND.
pub fn get(db: &Connection, id: &str) -> Result<PeerRow> {
    optional(db.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?.query_row([id], from_row))?
        .ok_or_else(|| Error::refused(Code::PeerNotFound, "there is no such peer"))
}

pub fn of_service(db: &Connection, service_id: &str) -> Result<Option<PeerRow>> {
    optional(db.prepare_cached(&format!("{SELECT} WHERE service_id = ?1"))?.query_row([service_id], from_row))
}

/// By address, in any case and without trailing slash.
pub fn of_url(db: &Connection, url: &str) -> Result<Option<PeerRow>> {
    let url = url.trim_end_matches('/');
    optional(db.prepare_cached(&format!("{SELECT} WHERE lower(url) = lower(?1)"))?.query_row([url], from_row))
}

pub fn delete(db: &Connection, id: &str) -> Result<()> {
    db.prepare_cached("DELETE FROM peers WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// What became of a heartbeat to the peer: `error` None is success.
pub fn set_sent(db: &Connection, id: &str, error: Option<&str>, forgotten: bool, now: Timestamp) -> Result<()> {
    db.prepare_cached(
        "UPDATE peers SET last_sent_at = ?2, last_success_at = iif(?3 IS NULL, ?2, last_success_at), last_error = ?3, \
         forgotten = ?4 WHERE id = ?1",
    )?
    .execute(params![id, now, error, forgotten])?;
    Ok(())
}

pub fn set_reported_broken(db: &Connection, id: &str, broken: bool) -> Result<()> {
    db.prepare_cached("UPDATE peers SET reported_broken = ?2 WHERE id = ?1")?.execute(params![id, broken])?;
    Ok(())
}

/// Remembers a secret that was handed out, unless `max` are out already.
pub fn add_secret(db: &Connection, hash: &[u8; 32], expires_at: Timestamp, now: Timestamp, max: i64) -> Result<bool> {
    db.prepare_cached("DELETE FROM pairing_secrets WHERE expires_at <= ?1")?.execute(params![now])?;
    let added = db
        .prepare_cached("INSERT INTO pairing_secrets SELECT ?1, ?2 WHERE (SELECT count(*) FROM pairing_secrets) < ?3")?
        .execute(params![&hash[..], expires_at, max])?;
    Ok(added > 0)
}

/// Whether the secret is one of ours and still good.
pub fn knows_secret(db: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<bool> {
    let known = db
        .prepare_cached("SELECT 1 FROM pairing_secrets WHERE hash = ?1 AND expires_at > ?2")?
        .exists(params![&hash[..], now])?;
    Ok(known)
}

/// Uses up a secret. False if it is not known, was used or is too old.
pub fn take_secret(db: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<bool> {
    Ok(db
        .prepare_cached("DELETE FROM pairing_secrets WHERE hash = ?1 AND expires_at > ?2")?
        .execute(params![&hash[..], now])?
        > 0)
}
