//! The outbox: one row per (alert, channel), written in the transaction that writes the alert. Says what is to be sent and
//! what became of it; must not know how anything is sent.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::Tx;
use super::alerts::AlertRow;
use crate::domain::{AlertType, ServiceState, Timestamp};
use crate::error::Result;
use crate::notify::Notice;
use crate::signals::Event;

/// A delivery that did not succeed within this time is given up.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Up to so many waiting alerts are sent one by one; more of them share messages.
const SINGLY: usize = 5;

/// What a row of the outbox is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Pending = 0,
    Sending = 1,
    Sent = 2,
    /// Refused for good, or given up.
    Dead = 3,
    /// The channel was disabled or removed before it was sent.
    Cancelled = 4,
}

impl Status {
    pub const ALL: [Status; 5] = [Status::Pending, Status::Sending, Status::Sent, Status::Dead, Status::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Sending => "sending",
            Status::Sent => "sent",
            Status::Dead => "dead",
            Status::Cancelled => "cancelled",
        }
    }

    fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as i64 == number)
    }
}

/// A row that was claimed for sending.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub id: i64,
    pub created_at: Timestamp,
    pub notice: Notice,
}

/// Puts an alert up for delivery and returns the number of rows. A failure goes to the channels of the service's
/// contacts; a recovery to those that were given its failure, so that nobody hears of a recovery alone.
pub fn enqueue(tx: &Tx<'_>, alert: &AlertRow) -> Result<usize> {
    let rows = match alert.kind {
        AlertType::Recovery => follow_failure(tx, alert)?,
        _ => route(tx, &alert.id, &alert.service_id)?,
    };
    if rows > 0 {
        tx.emit(Event::OutboxReady);
    } else {
        tracing::warn!(alert = alert.id, service = alert.service_name, "no channel takes this alert");
    }
    Ok(rows)
}

/// All enabled channels of the service's contacts (the default contact's when it has none), each target once; when there
/// are none, the channel of the environment.
fn route(tx: &Tx<'_>, alert_id: &str, service_id: &str) -> Result<usize> {
    let rows = tx
        .prepare_cached(
            "INSERT OR IGNORE INTO outbox (alert_id, channel_id, service_id, next_attempt_at, created_at) \
             SELECT ?1, min(ch.id), ?2, ?3, ?3 FROM contact_channels ch WHERE ch.is_enabled = 1 AND ch.contact_id IN ( \
                 SELECT contact_id FROM service_contacts WHERE service_id = ?2 \
                 UNION ALL SELECT id FROM contacts WHERE is_default = 1 \
                     AND NOT EXISTS (SELECT 1 FROM service_contacts WHERE service_id = ?2)) \
             GROUP BY coalesce(ch.target_key, ch.id)",
        )?
        .execute(params![alert_id, service_id, tx.now])?;
    if rows > 0 {
        return Ok(rows);
    }
    Ok(tx
        .prepare_cached(
            "INSERT OR IGNORE INTO outbox (alert_id, channel_id, service_id, next_attempt_at, created_at) \
             SELECT ?1, id, ?2, ?3, ?3 FROM contact_channels WHERE managed = 1 AND is_enabled = 1",
        )?
        .execute(params![alert_id, service_id, tx.now])?)
}

fn follow_failure(tx: &Tx<'_>, alert: &AlertRow) -> Result<usize> {
    Ok(tx
        .prepare_cached(
            "INSERT OR IGNORE INTO outbox (alert_id, channel_id, service_id, next_attempt_at, created_at) \
             SELECT ?1, o.channel_id, ?2, ?3, ?3 FROM outbox o JOIN contact_channels ch ON ch.id = o.channel_id \
             WHERE ch.is_enabled = 1 AND o.status IN (0, 1, 2) AND o.alert_id = ( \
                 SELECT id FROM alerts WHERE service_id = ?2 AND type <> ?4 AND muted = 0 \
                     AND seq < (SELECT seq FROM alerts WHERE id = ?1) ORDER BY seq DESC LIMIT 1)",
        )?
        .execute(params![alert.id, alert.service_id, tx.now, AlertType::Recovery])?)
}

/// Announced failures of the last day that still hold and that no channel was given, or can be given any more: routed
/// again. Called when channels, contacts or assignments changed.
pub fn route_forgotten(tx: &Tx<'_>) -> Result<usize> {
    let since = Timestamp::from_micros(tx.now.micros() - GIVE_UP_AFTER.as_micros() as i64);
    let forgotten: Vec<(String, String)> = tx
        .prepare_cached(
            "SELECT a.id, a.service_id FROM alerts a JOIN services s ON s.id = a.service_id \
             WHERE a.dispatched_at IS NULL AND a.created_at > ?1 AND a.muted = 0 AND a.type <> ?2 AND s.state = ?3 \
             AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.alert_id = a.id AND o.status IN (0, 1, 2)) ORDER BY a.seq",
        )?
        .query_map(params![since, AlertType::Recovery, ServiceState::Down], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut rows = 0;
    for (alert_id, service_id) in forgotten {
        rows += route(tx, &alert_id, &service_id)?;
    }
    if rows > 0 {
        tx.emit(Event::OutboxReady);
    }
    Ok(rows)
}

/// Enabled channels with a row that is due, and when each channel was last changed.
pub fn due_channels(db: &Connection, now: Timestamp) -> Result<Vec<(String, Timestamp)>> {
    let mut statement = db.prepare_cached(
        "SELECT id, updated_at FROM contact_channels ch WHERE is_enabled = 1 AND EXISTS ( \
         SELECT 1 FROM outbox WHERE channel_id = ch.id AND status = 0 AND next_attempt_at <= ?1)",
    )?;
    let rows = statement.query_map([now], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// When the next row after `now` is due.
pub fn next_due(db: &Connection, now: Timestamp) -> Result<Option<Timestamp>> {
    let sql = "SELECT min(next_attempt_at) FROM outbox WHERE status IN (0, 1) AND next_attempt_at > ?1";
    Ok(db.prepare_cached(sql)?.query_row([now], |row| row.get(0))?)
}

/// True when a lease ran out: its sender is gone.
pub fn expired(db: &Connection, now: Timestamp) -> Result<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM outbox WHERE status = 1 AND lease_until_at < ?1 LIMIT 1")?.exists([now])?)
}

/// Takes rows of a channel for the next messages and marks them as being sent. At most `limit`, at most one per service (what
/// came earlier about a service is sent earlier), and only one when few are waiting.
pub fn claim(tx: &Tx<'_>, channel_id: &str, limit: usize, lease: Duration) -> Result<Vec<Claimed>> {
    let mut statement = tx.prepare_cached(
        "SELECT o.id, o.created_at, o.possibly_repeated, a.id, a.service_id, s.name, a.type, a.severity, a.message, \
                a.created_at \
         FROM outbox o JOIN alerts a ON a.id = o.alert_id JOIN services s ON s.id = a.service_id \
         WHERE o.channel_id = ?1 AND o.status = 0 AND o.next_attempt_at <= ?2 AND NOT EXISTS ( \
             SELECT 1 FROM outbox e WHERE e.channel_id = o.channel_id AND e.service_id = o.service_id AND e.id < o.id \
                 AND e.status IN (0, 1)) \
         ORDER BY o.next_attempt_at, o.id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![channel_id, tx.now, i64::try_from(limit).unwrap_or(1)], claimed)?;
    let mut rows: Vec<Claimed> = rows.collect::<rusqlite::Result<_>>()?;
    if rows.len() <= SINGLY {
        rows.truncate(1);
    }
    let mut update =
        tx.prepare_cached("UPDATE outbox SET status = 1, attempts = attempts + 1, lease_until_at = ?2 WHERE id = ?1")?;
    for row in &rows {
        update.execute(params![row.id, tx.now.plus(lease)])?;
    }
    Ok(rows)
}

fn claimed(row: &Row<'_>) -> rusqlite::Result<Claimed> {
    let id = row.get(0)?;
    Ok(Claimed {
        id,
        created_at: row.get(1)?,
        notice: Notice {
            delivery_id: id,
            possibly_repeated: row.get(2)?,
            alert_id: row.get(3)?,
            service_id: row.get(4)?,
            service_name: row.get(5)?,
            kind: row.get(6)?,
            severity: row.get(7)?,
            message: row.get(8)?,
            created_at: row.get(9)?,
        },
    })
}

/// The message arrived. The first delivery of an alert is its `dispatchedAt`.
pub fn sent(tx: &Tx<'_>, channel_id: &str, rows: &[Claimed], remote_id: Option<&str>) -> Result<()> {
    for row in rows {
        tx.prepare_cached(
            "UPDATE outbox SET status = 2, sent_at = ?2, remote_id = ?3, last_error = NULL, lease_until_at = NULL \
             WHERE id = ?1",
        )?
        .execute(params![row.id, tx.now, remote_id])?;
        let first = tx
            .prepare_cached("UPDATE alerts SET dispatched_at = ?2 WHERE id = ?1 AND dispatched_at IS NULL")?
            .execute(params![row.notice.alert_id, tx.now])?;
        if first > 0 {
            let (alert_id, service_id) = (row.notice.alert_id.clone(), row.notice.service_id.clone());
            tx.emit(Event::AlertDelivered { alert_id, service_id });
        }
    }
    changed(tx, channel_id, rows);
    Ok(())
}

/// The message did not arrive, or nobody knows; the rows are due again at `at`, unless they waited too long already or were
/// cancelled meanwhile. Returns how many were given up.
pub fn failed(
    tx: &Tx<'_>,
    channel_id: &str,
    rows: &[Claimed],
    at: Timestamp,
    reason: &str,
    maybe_arrived: bool,
) -> Result<usize> {
    let mut given_up = 0;
    for row in rows {
        let dead = at.since(row.created_at) > GIVE_UP_AFTER;
        given_up += usize::from(dead);
        let status = if dead { Status::Dead } else { Status::Pending };
        tx.prepare_cached(
            "UPDATE outbox SET status = ?2, next_attempt_at = ?3, last_error = ?4, lease_until_at = NULL, \
             possibly_repeated = possibly_repeated OR ?5 WHERE id = ?1 AND status = 1",
        )?
        .execute(params![row.id, status as i64, at, reason, maybe_arrived])?;
    }
    changed(tx, channel_id, rows);
    Ok(given_up)
}

/// These messages will never be taken.
pub fn refused(tx: &Tx<'_>, channel_id: &str, rows: &[Claimed], reason: &str) -> Result<()> {
    for row in rows {
        tx.prepare_cached(
            "UPDATE outbox SET status = 3, last_error = ?2, lease_until_at = NULL WHERE id = ?1 AND status = 1",
        )?
        .execute(params![row.id, reason])?;
    }
    changed(tx, channel_id, rows);
    Ok(())
}

/// Ends everything that still waits for a channel which takes nothing any more. What no other channel was given is routed
/// again.
pub fn abandon(tx: &Tx<'_>, channel_id: &str, status: Status, reason: &str) -> Result<usize> {
    let rows = tx
        .prepare_cached(
            "UPDATE outbox SET status = ?2, last_error = ?3, lease_until_at = NULL \
             WHERE channel_id = ?1 AND status IN (0, 1)",
        )?
        .execute(params![channel_id, status as i64, reason])?;
    if rows > 0 {
        route_forgotten(tx)?;
    }
    Ok(rows)
}

/// A channel works again: what it could not be told and still holds is due once more.
pub fn revive(tx: &Tx<'_>, channel_id: &str) -> Result<usize> {
    let since = Timestamp::from_micros(tx.now.micros() - GIVE_UP_AFTER.as_micros() as i64);
    let rows = tx
        .prepare_cached(
            "UPDATE outbox SET status = 0, next_attempt_at = ?2 WHERE channel_id = ?1 AND status IN (3, 4) \
             AND created_at > ?3 AND alert_id IN (SELECT a.id FROM alerts a JOIN services s ON s.id = a.service_id \
                 WHERE s.state = ?4 AND a.type <> ?5 AND a.seq = (SELECT max(seq) FROM alerts WHERE service_id = s.id))",
        )?
        .execute(params![channel_id, tx.now, since, ServiceState::Down, AlertType::Recovery])?;
    if rows > 0 {
        tx.emit(Event::OutboxReady);
    }
    Ok(rows)
}

/// A channel was changed: what waits for a later attempt is tried now.
pub fn hurry(tx: &Tx<'_>, channel_id: &str) -> Result<()> {
    let rows = tx
        .prepare_cached("UPDATE outbox SET next_attempt_at = ?2 WHERE channel_id = ?1 AND status = 0")?
        .execute(params![channel_id, tx.now])?;
    if rows > 0 {
        tx.emit(Event::OutboxReady);
    }
    Ok(())
}

/// Whatever waits for a later attempt is tried now: nobody knows what those instants mean after a start or by a clock that
/// was set back.
pub fn hurry_all(tx: &Tx<'_>) -> Result<usize> {
    let rows = tx
        .prepare_cached("UPDATE outbox SET next_attempt_at = ?1 WHERE status = 0 AND next_attempt_at > ?1")?
        .execute(params![tx.now])?;
    if rows > 0 {
        tx.emit(Event::OutboxReady);
    }
    Ok(rows)
}

/// Rows that nobody is sending although they say so: after a start all of them, later those whose lease ran out. They may
/// have arrived, so they say that when they are sent again.
pub fn reclaim(tx: &Tx<'_>, after_start: bool) -> Result<usize> {
    let rows = tx
        .prepare_cached(
            "UPDATE outbox SET status = 0, possibly_repeated = 1, next_attempt_at = ?1, lease_until_at = NULL \
             WHERE status = 1 AND (?2 OR lease_until_at < ?1)",
        )?
        .execute(params![tx.now, after_start])?;
    if rows > 0 {
        tx.emit(Event::OutboxReady);
    }
    Ok(rows)
}

fn changed(tx: &Tx<'_>, channel_id: &str, rows: &[Claimed]) {
    for row in rows {
        let (alert_id, channel_id) = (row.notice.alert_id.clone(), channel_id.to_owned());
        tx.emit(Event::OutboxChanged { alert_id, channel_id });
    }
}

/// A line of the ledger.
#[derive(Debug, Clone)]
pub struct DeliveryRow {
    pub id: i64,
    pub alert_id: String,
    pub service_id: String,
    pub channel_id: String,
    /// None when the channel was removed.
    pub channel_type: Option<i64>,
    pub contact_id: Option<String>,
    pub contact_name: Option<String>,
    pub status: Status,
    pub attempts: i64,
    /// Only while pending.
    pub next_attempt_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub possibly_repeated: bool,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
}

const LEDGER: &str = "SELECT o.id, o.alert_id, o.service_id, o.channel_id, ch.type, c.id, c.name, o.status, o.attempts, \
                      o.next_attempt_at, o.last_error, o.possibly_repeated, o.created_at, o.sent_at FROM outbox o \
                      LEFT JOIN contact_channels ch ON ch.id = o.channel_id LEFT JOIN contacts c ON c.id = ch.contact_id";

fn delivery(row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    let number: i64 = row.get(7)?;
    let status = Status::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(7, number))?;
    let next_attempt_at: Timestamp = row.get(9)?;
    Ok(DeliveryRow {
        id: row.get(0)?,
        alert_id: row.get(1)?,
        service_id: row.get(2)?,
        channel_id: row.get(3)?,
        channel_type: row.get(4)?,
        contact_id: row.get(5)?,
        contact_name: row.get(6)?,
        status,
        attempts: row.get(8)?,
        next_attempt_at: (status == Status::Pending).then_some(next_attempt_at),
        last_error: row.get(10)?,
        possibly_repeated: row.get(11)?,
        created_at: row.get(12)?,
        sent_at: row.get(13)?,
    })
}

/// What became of an alert, channel by channel.
pub fn of_alert(db: &Connection, alert_id: &str) -> Result<Vec<DeliveryRow>> {
    let mut statement = db.prepare_cached(&format!("{LEDGER} WHERE o.alert_id = ?1 ORDER BY o.id"))?;
    let rows = statement.query_map([alert_id], delivery)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What a channel was asked to deliver, the newest first.
pub fn of_channel(db: &Connection, channel_id: &str, limit: i64, offset: i64) -> Result<Vec<DeliveryRow>> {
    let sql = format!("{LEDGER} WHERE o.channel_id = ?1 ORDER BY o.id DESC LIMIT ?2 OFFSET ?3");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params![channel_id, limit, offset], delivery)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn count_of_channel(db: &Connection, channel_id: &str) -> Result<i64> {
    let sql = "SELECT count(*) FROM outbox WHERE channel_id = ?1";
    Ok(db.prepare_cached(sql)?.query_row([channel_id], |row| row.get(0))?)
}

/// Deliveries that are still to be made, for metrics.
pub fn waiting(db: &Connection) -> Result<i64> {
    Ok(db.prepare_cached("SELECT count(*) FROM outbox WHERE status IN (0, 1)")?.query_row([], |row| row.get(0))?)
}

/// Alerts that were told in one message of a channel.
pub fn alerts_of_message(db: &Connection, channel_ids: &[String], remote_id: &str) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached("SELECT alert_id FROM outbox WHERE channel_id = ?1 AND remote_id = ?2")?;
    let mut alerts = Vec::new();
    for channel_id in channel_ids {
        let rows = statement.query_map([channel_id.as_str(), remote_id], |row| row.get(0))?;
        for alert in rows {
            alerts.push(alert?);
        }
    }
    Ok(alerts)
}
