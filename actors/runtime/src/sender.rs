//! Who a message comes from: a session's client, or the tenant itself. The flow knows no more about a sender than this.

use std::sync::Arc;

use mics_domain::event::{Event, EventType};
use mics_domain::message::Message;
use mics_domain::tenant::TenantConfig;
use mics_domain::trace::TraceParent;

use crate::node::{Node, unix_ms};
use crate::tenant::Tenant;

pub struct Sender {
    pub node: Arc<Node>,
    pub tenant: Arc<Tenant>,
    pub user: Arc<str>,
    pub device: Arc<str>,
    pub connection: u128,
    pub trace_id: String,
    pub config: Arc<TenantConfig>,
}

impl Sender {
    /// An event about a message of this sender.
    pub fn message_event(
        &self,
        kind: EventType,
        message: &Message,
        to_user: &str,
        data: bytes::Bytes,
        trace: Option<TraceParent>,
    ) -> Event {
        Event {
            msg_id: message.msg_id.clone(),
            to_user: to_user.to_owned(),
            group: message.group.clone(),
            data,
            kind,
            tenant: self.tenant.id.clone(),
            user: self.user.clone(),
            device: self.device.clone(),
            at_ms: unix_ms(),
            trace_id: self.trace_id.clone(),
            secret: self.config.secret.clone(),
            trace,
        }
    }
}
