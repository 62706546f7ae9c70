//! What people do with alerts.

use crate::error::Result;
use crate::signals::Event;
use crate::store::Tx;
use crate::store::alerts::{self, AlertRow};

/// Acknowledges an alert unless somebody did before. Returns whether that was now, and the alert as it was.
pub fn acknowledge(tx: &Tx<'_>, id: &str, by: &str) -> Result<(bool, AlertRow)> {
    let alert = alerts::get(tx, id)?;
    let first = alerts::acknowledge(tx, id, by, tx.now)?;
    if first {
        tx.emit(Event::AlertAcknowledged { alert_id: alert.id.clone(), service_id: alert.service_id.clone() });
    }
    Ok((first, alert))
}
