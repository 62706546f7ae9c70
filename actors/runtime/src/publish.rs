//! A message that nobody's client sent: the tenant's own. It goes the way of every message, through the flow, with the
//! same checks and promises.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use mics_domain::message::{Ack, Kind, Message};
use mics_domain::tenant::TenantConfig;

use crate::node::{Node, fresh_id, unix_ms};
use crate::sender::Sender;
use crate::session::{self, Turn};
use crate::tenant::Tenant;

/// Device of the tenant's own messages.
const DEVICE: &str = "admin";
/// One connection for all of them, so that a message id counts for as long as on a connection.
const CONNECTION: u128 = 0;

/// What a tenant has to say.
#[derive(Debug, Clone)]
pub struct Notice {
    pub to: Recipient,
    pub body: Bytes,
    /// Blank: one is made.
    pub msg_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    User(String),
    Group(String),
}

/// Carries a tenant's own message, sent as `user`, to its recipients; answers its ack. Carried to its end once begun, also
/// when the future is dropped. Runs on a thread of actors.
pub async fn publish(node: &Arc<Node>, tenant: &Arc<Tenant>, user: &str, notice: Notice) -> Ack {
    let msg_id = match mics_domain::ids::is_blank(&notice.msg_id) {
        true => format!("{:032x}", fresh_id()),
        false => notice.msg_id,
    };
    let (kind, to_user, group) = match notice.to {
        Recipient::User(user) => (Kind::Single, user, String::new()),
        Recipient::Group(group) => (Kind::Group, String::new(), group),
    };
    let message = Message {
        tenant: tenant.id.clone(),
        user: user.into(),
        device: DEVICE.into(),
        msg_id: msg_id.clone(),
        kind,
        to_user,
        group,
        body: notice.body,
        timestamp_ms: unix_ms(),
        unknown_fields: Bytes::new(),
    };
    let sender = Rc::new(Sender {
        node: node.clone(),
        tenant: tenant.clone(),
        user: message.user.clone(),
        device: message.device.clone(),
        connection: CONNECTION,
        trace_id: format!("{:032x}", fresh_id()),
        config: config(tenant),
    });
    let carried = actix_rt::spawn(async move { session::carry(&sender, message, &mut Turn::alone()).await });
    carried.await.unwrap_or_else(|_| Ack::failed(msg_id, mics_domain::codes::Refusal::Internal.reason()))
}

/// That of the tenant's latest /auth on this node; before the first one the operator's settings and defaults.
fn config(tenant: &Arc<Tenant>) -> Arc<TenantConfig> {
    tenant.guards().latest().unwrap_or_else(|| {
        Arc::new(TenantConfig {
            heartbeat_timeout_ms: TenantConfig::seconds_or(0, TenantConfig::DEFAULT_HEARTBEAT_SECONDS),
            offline_ttl_ms: TenantConfig::seconds_or(0, TenantConfig::DEFAULT_OFFLINE_TTL_SECONDS),
            secret: tenant.settings().secret.clone(),
            ..TenantConfig::default()
        })
    })
}
