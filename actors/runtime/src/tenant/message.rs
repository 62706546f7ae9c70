//! Everything a tenant's supervisor can be asked.

use std::sync::Arc;

use mics_domain::codes::Close;
use serde_json::Value;
use tokio::sync::oneshot;

pub enum TenantMsg {
    /// May this device come in? `replaces`: another connection of it is still there.
    Admit {
        user: Arc<str>,
        device: Arc<str>,
        replaces: bool,
        reply: oneshot::Sender<Result<(), Close>>,
    },
    /// A session ended.
    Ended {
        panicked: bool,
    },
    /// Figures for `/debug/actors`.
    Observe(oneshot::Sender<Value>),
    Stop,
    /// Ends the supervisor by a panic, for fault tests.
    Crash,
}
