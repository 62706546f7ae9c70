//! Rows of services.

use super::optional;
use crate::domain::{ServiceState, Severity, Timestamp};
use crate::error::{Code, Error, Result};
use rusqlite::{Connection, Row, params};

#[derive(Debug, Clone)]
pub struct ServiceRow {
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub state: ServiceState,
    pub severity: Severity,
    pub paused_until: Option<Timestamp>,
    pub auto_resume: bool,
    pub is_suppressed: bool,
    pub suppression_reason: Option<String>,
    /// Whether people were last told that the service is down.
    pub told_down: bool,
    pub managed_by: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "id, name, description, state, severity, paused_until_at, auto_resume, is_suppressed, \
                       suppression_reason, told_down, managed_by, created_at, updated_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<ServiceRow> {
    Ok(ServiceRow {
        id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        state: row.get(3)?,
        severity: row.get(4)?,
        paused_until: row.get(5)?,
        auto_resume: row.get(6)?,
        is_suppressed: row.get(7)?,
        suppression_reason: row.get(8)?,
        told_down: row.get(9)?,
        managed_by: row.get(10)?,
        created_at: row.get(11)?,
        updated_at: row.get(12)?,
    })
}

pub fn find(db: &Connection, id: &str) -> Result<Option<ServiceRow>> {
    optional(db.prepare_cached(&format!("SELECT {COLUMNS} FROM services WHERE id = ?1"))?.query_row([id], from_row))
}

/// Like [`find`], but absence is SERVICE_NOT_FOUND.
pub fn get(db: &Connection, id: &str) -> Result<ServiceRow> {
    find(db, id)?.ok_or_else(|| Error::refused(Code::ServiceNotFound, "there is no such service"))
}

pub fn find_by_name(db: &Connection, name: &str) -> Result<Option<ServiceRow>> {
    optional(db.prepare_cached(&format!("SELECT {COLUMNS} FROM services WHERE name = ?1"))?.query_row([name], from_row))
}

/// Ids and names of all services.
pub fn names(db: &Connection) -> Result<Vec<(String, String)>> {
    let mut statement = db.prepare_cached("SELECT id, name FROM services")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What the list of services can be narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub state: Option<ServiceState>,
    pub severity: Option<Severity>,
    /// Part of the name or description, any case.
    pub search: Option<String>,
}

impl Filter {
    const WHERE: &'static str = "(?1 IS NULL OR state = ?1) AND (?2 IS NULL OR severity = ?2) AND (?3 IS NULL OR \
                                 instr(lower(name), ?3) > 0 OR instr(lower(coalesce(description, '')), ?3) > 0)";

    fn needle(&self) -> Option<String> {
        self.search.as_deref().map(str::to_lowercase)
    }
}

/// By name ascending (byte order).
pub fn page(db: &Connection, filter: &Filter, limit: i64, offset: i64) -> Result<Vec<ServiceRow>> {
    let sql = format!("SELECT {COLUMNS} FROM services WHERE {} ORDER BY name LIMIT ?4 OFFSET ?5", Filter::WHERE);
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params![filter.state, filter.severity, filter.needle(), limit, offset], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn count(db: &Connection, filter: &Filter) -> Result<i64> {
    let sql = format!("SELECT count(*) FROM services WHERE {}", Filter::WHERE);
    Ok(db.prepare_cached(&sql)?.query_row(params![filter.state, filter.severity, filter.needle()], |row| row.get(0))?)
}

/// How many services are in each state, in the order of the enum.
pub fn count_by_state(db: &Connection) -> Result<[i64; 4]> {
    let mut counts = [0; 4];
    let mut statement = db.prepare_cached("SELECT state, count(*) FROM services GROUP BY state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let state: ServiceState = row.get(0)?;
        counts[state as usize] = row.get(1)?;
    }
    Ok(counts)
}

/// The fields that a client sets.
#[derive(Debug, Clone)]
pub struct NewService {
    pub name: String,
    pub description: Option<String>,
    pub severity: Severity,
    pub managed_by: Option<&'static str>,
}

/// Stores a service in state Unknown and returns its id. A name in use is SERVICE_NAME_TAKEN.
pub fn insert(db: &Connection, new: &NewService, now: Timestamp) -> Result<String> {
    let id = uuid::Uuid::now_v7().to_string();
    db.prepare_cached(
        "INSERT INTO services (id, name, description, severity, managed_by, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute(params![id, new.name, new.description, new.severity, new.managed_by, now])
    .map_err(name_taken)?;
    Ok(id)
}

/// `severity` None keeps the stored one.
pub fn update(
    db: &Connection,
    id: &str,
    name: &str,
    description: Option<&str>,
    severity: Option<Severity>,
    now: Timestamp,
) -> Result<()> {
    db.prepare_cached(
        "UPDATE services SET name = ?2, description = ?3, severity = coalesce(?4, severity), updated_at = ?5 WHERE id = ?1",
    )?
    .execute(params![id, name, description, severity, now])
    .map_err(name_taken)?;
    Ok(())
}

pub fn delete(db: &Connection, id: &str) -> Result<bool> {
    Ok(db.prepare_cached("DELETE FROM services WHERE id = ?1")?.execute([id])? > 0)
}

fn name_taken(error: rusqlite::Error) -> Error {
    match &error {
        rusqlite::Error::SqliteFailure(failure, Some(text))
            if failure.code == rusqlite::ErrorCode::ConstraintViolation && text.contains("services.name") =>
        {
            Error::refused(Code::ServiceNameTaken, "another service has this name")
        }
        _ => error.into(),
    }
}

/// Writes the new state and remembers the old one.
pub fn set_state(db: &Connection, id: &str, to: ServiceState, now: Timestamp) -> Result<()> {
    db.prepare_cached("UPDATE services SET previous_state = state, state = ?2, updated_at = ?3 WHERE id = ?1")?
        .execute(params![id, to, now])?;
    Ok(())
}

pub fn set_told_down(db: &Connection, id: &str, told_down: bool) -> Result<()> {
    db.prepare_cached("UPDATE services SET told_down = ?2 WHERE id = ?1")?.execute(params![id, told_down])?;
    Ok(())
}

/// Both None and false outside of a pause.
pub fn set_pause(db: &Connection, id: &str, until: Option<Timestamp>, auto_resume: bool) -> Result<()> {
    db.prepare_cached("UPDATE services SET paused_until_at = ?2, auto_resume = ?3 WHERE id = ?1")?.execute(params![
        id,
        until,
        auto_resume
    ])?;
    Ok(())
}

/// Ids of paused services whose time is over at `now`.
pub fn due_for_resume(db: &Connection, now: Timestamp) -> Result<Vec<String>> {
    let mut statement =
        db.prepare_cached("SELECT id FROM services WHERE state = 3 AND auto_resume = 1 AND paused_until_at <= ?1")?;
    let rows = statement.query_map(params![now], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// When the next pause with auto-resume ends.
pub fn next_resume(db: &Connection) -> Result<Option<Timestamp>> {
    Ok(db
        .prepare_cached("SELECT min(paused_until_at) FROM services WHERE state = 3 AND auto_resume = 1")?
        .query_row([], |row| row.get(0))?)
}

/// The service of that name; without one, the only service whose name differs in case alone.
pub fn find_by_name_any_case(db: &Connection, name: &str) -> Result<Option<ServiceRow>> {
    if let Some(service) = find_by_name(db, name)? {
        return Ok(Some(service));
    }
    let wanted = name.to_lowercase();
    let mut statement = db.prepare_cached("SELECT name FROM services")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut alike = names.iter().filter(|name| name.to_lowercase() == wanted);
    match (alike.next(), alike.next()) {
        (Some(only), None) => find_by_name(db, only),
        _ => Ok(None),
    }
}
