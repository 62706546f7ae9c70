//! Use cases that change state: each function is one transaction's worth of work, run inside `Store::write`.

pub mod alertmanager;
pub mod alerts;
pub mod health_check;
pub mod heartbeat;
pub mod metric;
pub mod mute;
pub mod pause;
pub mod peers;
pub mod services;
pub mod transition;
pub mod webhook;

use crate::error::Result;
use crate::signals::Event;
use crate::store::Tx;
use crate::store::events::{self, NewEvent};
use crate::store::monitors::MonitorRow;

/// Writes down what a monitor received and says so after the commit.
fn received(tx: &Tx<'_>, monitor: &MonitorRow, event: &NewEvent<'_>) -> Result<()> {
    events::insert(tx, monitor, event, tx.now)?;
    tx.emit(Event::Received {
        kind: event.kind,
        monitor_id: monitor.id.clone(),
        service_id: monitor.service_id.clone(),
        value: event.value,
        at: tx.now,
    });
    Ok(())
}
