//! Everything the members actor can be asked.

use serde_json::Value;
use tokio::sync::oneshot;

pub enum MembersMsg {
    /// A node came or left: look now.
    Changed,
    /// This node leaves: tell the directory, then answer.
    Leave(oneshot::Sender<()>),
    /// Figures for `/debug/actors`.
    Observe(oneshot::Sender<Value>),
}
