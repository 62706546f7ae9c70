//! Everything a router can be asked.

use std::sync::Arc;

use mics_domain::message::Message;
use mics_domain::ports::{LinkError, Route};
use serde_json::Value;
use tokio::sync::oneshot;

/// A session's entry in the directory.
#[derive(Debug, Clone)]
pub struct Renewal {
    pub tenant: Arc<str>,
    pub user: Arc<str>,
    pub device: Arc<str>,
    pub connection: u128,
    pub lease_ms: u64,
}

pub enum RouterMsg {
    /// Routes of each user on other nodes.
    Elsewhere {
        tenant: Arc<str>,
        users: Vec<Arc<str>>,
        reply: oneshot::Sender<Vec<Vec<Route>>>,
    },
    /// Hand a message to another node.
    Forward {
        endpoint: Arc<str>,
        message: Arc<Message>,
        users: Vec<Arc<str>>,
        reply: oneshot::Sender<Result<Vec<u32>, LinkError>>,
    },
    Renew(Renewal),
    Withdraw(Renewal),
    /// Figures for `/debug/actors`.
    Observe(oneshot::Sender<Value>),
}
