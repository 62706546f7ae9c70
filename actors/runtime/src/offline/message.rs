//! Everything an offline buffer actor can be asked.

use serde_json::Value;
use tokio::sync::oneshot;

pub enum OfflineMsg {
    /// Figures for `/debug/actors`.
    Observe(oneshot::Sender<Value>),
    Stop,
}
