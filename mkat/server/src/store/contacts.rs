//! Rows of contacts and their channels.

use crate::domain::Timestamp;
use crate::error::Result;
use rusqlite::{Connection, params};

/// The default contact's id; made at the first start.
pub fn ensure_default(db: &Connection, now: Timestamp) -> Result<String> {
    let found = super::optional(
        db.prepare_cached("SELECT id FROM contacts WHERE is_default = 1")?.query_row([], |row| row.get(0)),
    )?;
    if let Some(id) = found {
        return Ok(id);
    }
    let id = uuid::Uuid::now_v7().to_string();
    db.prepare_cached("INSERT INTO contacts (id, name, is_default, created_at) VALUES (?1, 'Default', 1, ?2)")?
        .execute(params![id, now])?;
    Ok(id)
}
