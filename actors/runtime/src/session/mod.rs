//! A WebSocket session. [`open`] starts one on the current thread: an actor that authenticates the client, announces
//! it, hands its frames to the flow in order, and cleans up once, however it ends. It must not know HTTP.

mod actor;
mod connect;
mod message;
mod pipeline;
mod presence;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use mics_domain::codes::Close;
use mics_domain::event::{Event, EventType};
use mics_domain::ports::Lease;
use mics_proto::message::ConnectAck;
use prometheus::IntCounter;

use crate::keep;
use crate::node::{Counted, Node, clock_ms, unix_ms};
use crate::outbox::Outbox;
use crate::sender::Sender;
use crate::wire::Wire;

pub use message::SessionMsg;
pub(crate) use pipeline::carry;
pub use pipeline::{Pipeline, Turn};

/// What the client said when it connected.
#[derive(Debug, Clone)]
pub struct Hello {
    pub tenant: String,
    pub token: String,
    pub device: String,
}

/// Starts a session over an upgraded socket. `place` counts the socket until it is gone.
pub fn open(node: Arc<Node>, hello: Hello, wire: Rc<dyn Wire>, place: Counted, handshake: Counted) {
    actor::start(node, hello, wire, place, handshake);
}

/// A session that was let in, as its own thread sees it.
pub struct Live {
    /// Who it is; its fields are the session's own.
    pub sender: Rc<Sender>,
    pub outbox: Arc<Outbox>,
    pub pipeline: Pipeline,
    /// Of the tenant.
    received_bytes: IntCounter,
    /// A task is moving kept frames into the outbox.
    pub fetching: Cell<bool>,
    /// It will look for kept frames again, without being told of any.
    pub looking_again: Cell<bool>,
    /// How often in a row it did so in vain.
    pub looks: Cell<u32>,
    last_activity_ms: Cell<u64>,
    /// Why it was closed, once it was; for the books.
    closed_code: Cell<Option<u16>>,
}

impl std::ops::Deref for Live {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.sender
    }
}

impl Live {
    /// The client showed that it is alive.
    pub fn touch(&self) {
        self.last_activity_ms.set(clock_ms());
    }

    /// When the client counts as silent. A client whose socket is not being read is never silent.
    pub fn silent_at_ms(&self, now: u64) -> u64 {
        let since = if self.pipeline.is_full() { now } else { self.last_activity_ms.get() };
        since + self.config.heartbeat_timeout_ms
    }

    pub fn renewal_ms(&self) -> u64 {
        (self.config.heartbeat_timeout_ms / 2).max(1_000)
    }

    /// Begins the end. What a slow or replaced session has not been sent goes to the offline buffer at once; otherwise it
    /// is still written first.
    pub fn close(&self, close: &Close) {
        let keep = !matches!(close, Close::SlowConsumer | Close::Replaced);
        self.closed_code.set(self.closed_code.get().or(close.code()));
        keep::put_back(self, self.outbox.begin_close(close, keep));
    }

    /// The session's entry in the directory.
    pub fn lease(&self) -> Lease {
        Lease {
            tenant: self.tenant.id.clone(),
            user: self.user.clone(),
            device: self.device.clone(),
            connection: self.connection,
            lease_ms: self.config.lease_ms(),
        }
    }

    /// `ConnectAck` of this session.
    fn welcome(&self) -> ConnectAck {
        ConnectAck {
            code: 1000,
            tenant_id: self.tenant.id.to_string(),
            user_id: self.user.to_string(),
            device_id: self.device.to_string(),
            node_id: self.node.id.to_string(),
            trace_id: self.trace_id.clone(),
        }
    }

    /// An event about this connection.
    fn connection_event(&self, kind: EventType) -> Event {
        use mics_proto::prost::Message as _;
        Event {
            tenant: self.tenant.id.clone(),
            kind,
            msg_id: String::new(),
            user: self.user.clone(),
            device: self.device.clone(),
            to_user: String::new(),
            group: String::new(),
            data: self.welcome().encode_to_vec().into(),
            at_ms: unix_ms(),
            trace_id: self.trace_id.clone(),
            secret: self.config.secret.clone(),
            trace: None,
        }
    }
}
