//! The outbox: one row per (alert, channel), written in the transaction that writes the alert.

use super::Tx;
use super::alerts::AlertRow;
use crate::error::Result;
use crate::signals::Event;
use rusqlite::params;

/// Puts an alert up for delivery: the service's contacts, or the default contact if it has none, all their enabled
/// channels, each target once. Returns the number of rows.
pub fn enqueue(tx: &Tx<'_>, alert: &AlertRow) -> Result<usize> {
    let rows = tx
        .prepare_cached(
            "INSERT OR IGNORE INTO outbox (alert_id, channel_id, service_id, next_attempt_at, created_at) \
             SELECT ?1, min(ch.id), ?2, ?3, ?3 FROM contact_channels ch WHERE ch.is_enabled = 1 AND ch.contact_id IN ( \
                 SELECT contact_id FROM service_contacts WHERE service_id = ?2 \
                 UNION ALL SELECT id FROM contacts WHERE is_default = 1 \
                     AND NOT EXISTS (SELECT 1 FROM service_contacts WHERE service_id = ?2)) \
             GROUP BY coalesce(ch.target_key, ch.id)",
        )?
        .execute(params![alert.id, alert.service_id, tx.now])?;
    if rows > 0 {
        tx.emit(Event::OutboxReady);
    }
    Ok(rows)
}
