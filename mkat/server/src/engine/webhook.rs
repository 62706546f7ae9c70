//! Webhooks: a service says itself that it failed or recovered.

use super::received;
use super::transition::{self, Applied, Cause};
use crate::domain::state::Outcome;
use crate::domain::{AlertType, EventType};
use crate::error::Result;
use crate::store::Tx;
use crate::store::events::NewEvent;
use crate::store::monitors::{self, MonitorRow};

/// Takes a report; `message` is what the caller adds.
pub fn receive(tx: &Tx<'_>, monitor: &MonitorRow, outcome: Outcome, message: Option<&str>) -> Result<Applied> {
    let kind = EventType::WebhookReceived;
    let success = outcome == Outcome::Success;
    received(tx, monitor, &NewEvent { kind, success, value: None, out_of_range: false, message })?;
    monitors::set_check_in(tx, &monitor.id, tx.now, None)?;
    let what = if success { "webhook reported recovery" } else { "webhook reported a failure" };
    let reason = message.map_or_else(|| what.to_owned(), |message| format!("{what}: {message}"));
    let cause = Cause { trigger: "webhook", failure_type: AlertType::Failure, reason: &reason };
    transition::apply(tx, monitor, outcome, &cause)
}
