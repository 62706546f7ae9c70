//! Rows of contacts, their channels, and which services they look after.

use rusqlite::{Connection, Row, params};

use super::{Tx, optional};
use crate::domain::{ChannelType, Timestamp};
use crate::error::{Code, Error, Result};
use crate::signals::Event;

#[derive(Debug, Clone)]
pub struct ContactRow {
    pub id: String,
    pub name: String,
    pub is_default: bool,
    pub created_at: Timestamp,
    /// Services with an explicit link.
    pub service_count: i64,
}

#[derive(Debug, Clone)]
pub struct ChannelRow {
    pub id: String,
    pub contact_id: String,
    pub contact_name: String,
    pub kind: ChannelType,
    /// JSON text with secrets.
    pub configuration: String,
    pub is_enabled: bool,
    /// Kept in step with the environment.
    pub managed: bool,
    pub disabled_reason: Option<String>,
    pub failing_since: Option<Timestamp>,
    /// Failures since the last success.
    pub failure_count: i64,
    pub last_success_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

const CONTACT: &str = "SELECT c.id, c.name, c.is_default, c.created_at, \
                       (SELECT count(*) FROM service_contacts sc WHERE sc.contact_id = c.id) FROM contacts c";

const CHANNEL: &str = "SELECT ch.id, ch.contact_id, c.name, ch.type, ch.configuration, ch.is_enabled, ch.managed, \
                       ch.disabled_reason, ch.failing_since_at, ch.failure_count, ch.last_success_at, ch.last_error, \
                       ch.created_at, ch.updated_at FROM contact_channels ch JOIN contacts c ON c.id = ch.contact_id";

fn contact(row: &Row<'_>) -> rusqlite::Result<ContactRow> {
    Ok(ContactRow {
        id: row.get(0)?,
        name: row.get(1)?,
        is_default: row.get(2)?,
        created_at: row.get(3)?,
        service_count: row.get(4)?,
    })
}

fn channel(row: &Row<'_>) -> rusqlite::Result<ChannelRow> {
    Ok(ChannelRow {
        id: row.get(0)?,
        contact_id: row.get(1)?,
        contact_name: row.get(2)?,
        kind: row.get(3)?,
        configuration: row.get(4)?,
        is_enabled: row.get(5)?,
        managed: row.get(6)?,
        disabled_reason: row.get(7)?,
        failing_since: row.get(8)?,
        failure_count: row.get(9)?,
        last_success_at: row.get(10)?,
        last_error: row.get(11)?,
        created_at: row.get(12)?,
        updated_at: row.get(13)?,
    })
}

fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The default contact's id; made at the first start.
pub fn ensure_default(db: &Connection, now: Timestamp) -> Result<String> {
    let found =
        optional(db.prepare_cached("SELECT id FROM contacts WHERE is_default = 1")?.query_row([], |row| row.get(0)))?;
    match found {
        Some(id) => Ok(id),
        None => insert(db, "Default", true, now),
    }
}

/// Makes the default contact hold exactly one channel of the environment (`kind`, configuration, target), or none.
/// A channel that the far end closed stays closed until the environment names another one.
pub fn sync_managed(tx: &Tx<'_>, wanted: Option<(ChannelType, &str, &str)>) -> Result<()> {
    let default = ensure_default(tx, tx.now)?;
    let existing =
        optional(tx.prepare_cached(&format!("{CHANNEL} WHERE ch.managed = 1 LIMIT 1"))?.query_row([], channel))?;
    match (existing, wanted) {
        (None, None) => return Ok(()),
        (Some(row), None) => delete_channel(tx, &row.id)?,
        (None, Some((kind, configuration, target))) => {
            let id = insert_channel(tx, &default, kind, configuration, target)?;
            tx.execute("UPDATE contact_channels SET managed = 1 WHERE id = ?1", [&id])?;
        }
        (Some(row), Some((_, configuration, target))) if row.configuration != configuration => {
            update_channel(tx, &row.id, configuration, target, true)?;
        }
        (Some(_), Some(_)) => return Ok(()),
    }
    super::outbox::route_forgotten(tx)?;
    Ok(())
}

pub fn insert(db: &Connection, name: &str, is_default: bool, now: Timestamp) -> Result<String> {
    let id = new_id();
    db.prepare_cached("INSERT INTO contacts (id, name, is_default, created_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, name, is_default, now])?;
    Ok(id)
}

pub fn get(db: &Connection, id: &str) -> Result<ContactRow> {
    optional(db.prepare_cached(&format!("{CONTACT} WHERE c.id = ?1"))?.query_row([id], contact))?
        .ok_or_else(|| Error::refused(Code::ContactNotFound, "there is no such contact"))
}

/// By name.
pub fn all(db: &Connection) -> Result<Vec<ContactRow>> {
    let mut statement = db.prepare_cached(&format!("{CONTACT} ORDER BY c.name, c.id"))?;
    let rows = statement.query_map([], contact)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Explicitly assigned contacts by name; empty means that the default contact applies.
pub fn of_service(db: &Connection, service_id: &str) -> Result<Vec<ContactRow>> {
    let sql = format!(
        "{CONTACT} JOIN service_contacts own ON own.contact_id = c.id WHERE own.service_id = ?1 ORDER BY c.name, c.id"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map([service_id], contact)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn rename(tx: &Tx<'_>, id: &str, name: &str) -> Result<()> {
    get(tx, id)?;
    tx.prepare_cached("UPDATE contacts SET name = ?2 WHERE id = ?1")?.execute(params![id, name])?;
    tx.emit(Event::ContactsChanged);
    Ok(())
}

/// Refused for the default contact and for the only contact of some service.
pub fn delete(tx: &Tx<'_>, id: &str) -> Result<()> {
    if get(tx, id)?.is_default {
        return Err(Error::refused(Code::DefaultContact, "the default contact cannot be deleted"));
    }
    let alone = optional(
        tx.prepare_cached(
            "SELECT s.name FROM service_contacts sc JOIN services s ON s.id = sc.service_id WHERE sc.contact_id = ?1 \
             AND NOT EXISTS (SELECT 1 FROM service_contacts o WHERE o.service_id = sc.service_id AND o.contact_id <> ?1) \
             LIMIT 1",
        )?
        .query_row([id], |row| row.get::<_, String>(0)),
    )?;
    if let Some(service) = alone {
        let message = format!("the contact is the only one of service \"{service}\"");
        return Err(Error::refused(Code::OnlyContact, message));
    }
    for channel in channels_of(tx, id)? {
        delete_channel(tx, &channel.id)?;
    }
    tx.prepare_cached("DELETE FROM contacts WHERE id = ?1")?.execute([id])?;
    tx.emit(Event::ContactsChanged);
    Ok(())
}

/// Replaces the contacts of a service. `contact_ids` are distinct and not empty (checked by the caller).
pub fn assign(tx: &Tx<'_>, service_id: &str, contact_ids: &[String]) -> Result<()> {
    for contact_id in contact_ids {
        get(tx, contact_id)?;
    }
    tx.prepare_cached("DELETE FROM service_contacts WHERE service_id = ?1")?.execute([service_id])?;
    for contact_id in contact_ids {
        tx.prepare_cached("INSERT INTO service_contacts (service_id, contact_id) VALUES (?1, ?2)")?
            .execute([service_id, contact_id])?;
    }
    super::outbox::route_forgotten(tx)?;
    tx.emit(Event::ContactsChanged);
    Ok(())
}

pub fn channels_of(db: &Connection, contact_id: &str) -> Result<Vec<ChannelRow>> {
    let sql = format!("{CHANNEL} WHERE ch.contact_id = ?1 ORDER BY ch.created_at, ch.id");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map([contact_id], channel)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// All channels, by contact.
pub fn channels(db: &Connection) -> Result<Vec<ChannelRow>> {
    let mut statement = db.prepare_cached(&format!("{CHANNEL} ORDER BY c.name, c.id, ch.created_at, ch.id"))?;
    let rows = statement.query_map([], channel)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn find_channel(db: &Connection, id: &str) -> Result<Option<ChannelRow>> {
    optional(db.prepare_cached(&format!("{CHANNEL} WHERE ch.id = ?1"))?.query_row([id], channel))
}

/// Like [`find_channel`], but absence is CHANNEL_NOT_FOUND.
pub fn get_channel(db: &Connection, id: &str) -> Result<ChannelRow> {
    find_channel(db, id)?.ok_or_else(|| Error::refused(Code::ChannelNotFound, "there is no such channel"))
}

/// `configuration` was found valid; `target` tells two channels to the same place apart.
pub fn insert_channel(
    tx: &Tx<'_>,
    contact_id: &str,
    kind: ChannelType,
    configuration: &str,
    target: &str,
) -> Result<String> {
    get(tx, contact_id)?;
    let id = new_id();
    tx.prepare_cached(
        "INSERT INTO contact_channels (id, contact_id, type, configuration, target_key, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute(params![id, contact_id, kind, configuration, target, tx.now])?;
    super::outbox::route_forgotten(tx)?;
    tx.emit(Event::ContactsChanged);
    Ok(id)
}

/// A new configuration, or on and off. Enabling forgets why it was disabled and sends what still holds.
pub fn update_channel(tx: &Tx<'_>, id: &str, configuration: &str, target: &str, enabled: bool) -> Result<()> {
    let before = get_channel(tx, id)?;
    tx.prepare_cached(
        "UPDATE contact_channels SET configuration = ?2, target_key = ?3, is_enabled = ?4, disabled_reason = NULL, \
         failing_since_at = NULL, failure_count = 0, last_error = NULL, updated_at = ?5 WHERE id = ?1",
    )?
    .execute(params![id, configuration, target, enabled, tx.now])?;
    if !enabled {
        super::outbox::abandon(tx, id, super::outbox::Status::Cancelled, "the channel was disabled")?;
    } else {
        super::outbox::hurry(tx, id)?;
        if !before.is_enabled {
            super::outbox::revive(tx, id)?;
            super::outbox::route_forgotten(tx)?;
        }
    }
    tx.emit(Event::ContactsChanged);
    Ok(())
}

pub fn delete_channel(tx: &Tx<'_>, id: &str) -> Result<()> {
    get_channel(tx, id)?;
    tx.prepare_cached("DELETE FROM contact_channels WHERE id = ?1")?.execute([id])?;
    super::outbox::abandon(tx, id, super::outbox::Status::Cancelled, "the channel was removed")?;
    tx.emit(Event::ContactsChanged);
    Ok(())
}

/// The far end takes nothing any more: off, and everybody can see why.
pub fn close_channel(tx: &Tx<'_>, id: &str, reason: &str) -> Result<()> {
    tx.prepare_cached(
        "UPDATE contact_channels SET is_enabled = 0, disabled_reason = ?2, last_error = ?2, \
         failure_count = failure_count + 1, failing_since_at = coalesce(failing_since_at, ?3), updated_at = ?3 \
         WHERE id = ?1",
    )?
    .execute(params![id, reason, tx.now])?;
    super::outbox::abandon(tx, id, super::outbox::Status::Dead, reason)?;
    tx.emit(Event::ContactsChanged);
    Ok(())
}

/// Same channel, new address (Telegram made the group a supergroup).
pub fn move_channel(tx: &Tx<'_>, id: &str, configuration: &str, target: &str) -> Result<()> {
    tx.prepare_cached(
        "UPDATE contact_channels SET configuration = ?2, target_key = ?3, updated_at = ?4 WHERE id = ?1",
    )?
    .execute(params![id, configuration, target, tx.now])?;
    tx.emit(Event::ContactsChanged);
    Ok(())
}

/// Remembers a success. Says so when the channel was failing before.
pub fn worked(tx: &Tx<'_>, id: &str) -> Result<()> {
    let was_failing = get_channel(tx, id).is_ok_and(|channel| channel.failing_since.is_some());
    tx.prepare_cached(
        "UPDATE contact_channels SET failing_since_at = NULL, failure_count = 0, last_error = NULL, \
         last_success_at = ?2 WHERE id = ?1",
    )?
    .execute(params![id, tx.now])?;
    if was_failing {
        tx.emit(Event::ContactsChanged);
    }
    Ok(())
}

/// Remembers a failure and returns how many there were in a row.
pub fn stumbled(tx: &Tx<'_>, id: &str, reason: &str) -> Result<i64> {
    let count = optional(
        tx.prepare_cached(
            "UPDATE contact_channels SET failing_since_at = coalesce(failing_since_at, ?2), \
             failure_count = failure_count + 1, last_error = ?3 WHERE id = ?1 RETURNING failure_count",
        )?
        .query_row(params![id, tx.now, reason], |row| row.get(0)),
    )?;
    Ok(count.unwrap_or(1))
}

/// Names of contacts that cannot be reached through one of their channels: closed by the far end, failing for half a minute
/// or three times in a row, or with an alert that was given up since the last success.
pub fn unreachable(db: &Connection, now: Timestamp) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "SELECT DISTINCT c.name FROM contact_channels ch JOIN contacts c ON c.id = ch.contact_id \
         WHERE ch.disabled_reason IS NOT NULL \
         OR (ch.is_enabled = 1 AND (ch.failing_since_at <= ?1 OR ch.failure_count >= 3)) \
         OR (ch.is_enabled = 1 AND EXISTS (SELECT 1 FROM outbox o WHERE o.channel_id = ch.id AND o.status = 3 \
             AND o.created_at > coalesce(ch.last_success_at, 0))) ORDER BY c.name",
    )?;
    let rows = statement.query_map([now.plus_seconds(-30)], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
