//! Small facts that must survive a restart (generated password, poll offsets, last run), by key.

use super::optional;
use crate::error::Result;
use rusqlite::Connection;

pub fn get(db: &Connection, key: &str) -> Result<Option<String>> {
    optional(db.prepare_cached("SELECT value FROM settings WHERE key = ?1")?.query_row([key], |row| row.get(0)))
}

pub fn set(db: &Connection, key: &str, value: &str) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO settings (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute([key, value])?;
    Ok(())
}
