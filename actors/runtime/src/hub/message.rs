//! Everything a hub can be asked.

use serde_json::Value;
use tokio::sync::oneshot;

pub enum HubMsg {
    /// Figures for `/debug/actors`.
    Observe(oneshot::Sender<Value>),
}
