//! Everything a router can be asked.

use std::sync::Arc;

use mics_domain::delivery::Delivery;
use mics_domain::ports::{Lease, LinkError, PeerAnswer, PeerCall, Route};
use serde_json::Value;
use tokio::sync::oneshot;

pub enum RouterMsg {
    /// Routes of each user, asked of the directory. `None`: it is away.
    LookUp { tenant: Arc<str>, users: Vec<Arc<str>>, reply: oneshot::Sender<Option<Vec<Arc<[Route]>>>> },
    /// Hand a message to another node.
    Forward {
        endpoint: Arc<str>,
        delivery: Arc<Delivery>,
        users: Vec<Arc<str>>,
        reply: oneshot::Sender<Result<Vec<u32>, LinkError>>,
    },
    /// Ask another node for something.
    Call { endpoint: Arc<str>, call: PeerCall, reply: oneshot::Sender<Result<PeerAnswer, LinkError>> },
    /// Prolong a session's entry in the directory.
    Renew(Lease),
    /// Remove one.
    Withdraw(Lease),
    /// Figures for `/debug/actors`.
    Observe(oneshot::Sender<Value>),
}
