//! Browser sessions, kept as hashes.

use super::optional;
use crate::domain::Timestamp;
use crate::error::Result;
use rusqlite::{Connection, params};

pub fn insert(db: &Connection, id_hash: &[u8; 32], username: &str, now: Timestamp, expires: Timestamp) -> Result<()> {
    db.prepare_cached("INSERT INTO sessions (id_hash, username, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![&id_hash[..], username, now, expires])?;
    Ok(())
}

/// The user and end of a session that is still valid at `now`.
pub fn find(db: &Connection, id_hash: &[u8; 32], now: Timestamp) -> Result<Option<(String, Timestamp)>> {
    optional(
        db.prepare_cached("SELECT username, expires_at FROM sessions WHERE id_hash = ?1 AND expires_at > ?2")?
            .query_row(params![&id_hash[..], now], |row| Ok((row.get(0)?, row.get(1)?))),
    )
}

pub fn delete(db: &Connection, id_hash: &[u8; 32]) -> Result<()> {
    db.prepare_cached("DELETE FROM sessions WHERE id_hash = ?1")?.execute(params![&id_hash[..]])?;
    Ok(())
}

pub fn delete_expired(db: &Connection, now: Timestamp) -> Result<usize> {
    Ok(db.prepare_cached("DELETE FROM sessions WHERE expires_at <= ?1")?.execute(params![now])?)
}

/// Ends all sessions, after a change of the credentials.
pub fn delete_all(db: &Connection) -> Result<usize> {
    Ok(db.execute("DELETE FROM sessions", [])?)
}
