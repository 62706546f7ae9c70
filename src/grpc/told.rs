//! The log lines about what did not get through to another node: per peer, and for each status a line now and then, so that
//! a peer that is gone does not fill the disk. Must not log more of a message than its id.

use std::sync::Arc;

use mics_actors::node::clock_ms;
use mics_domain::ports::PeerCall;
use mics_proto::message::MessageRequest;
use mics_proto::node::Forward;
use prost::Message as _;
use tonic::Code;

use super::peer::Peer;

/// What a line is about, beside the status.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum About {
    Retry { single: bool },
    Failure { single: bool },
    Buffer,
    Drain,
}

fn msg_id(forward: &Forward) -> String {
    MessageRequest::decode(forward.request.clone()).map(|message| message.msg_id).unwrap_or_default()
}

/// The user of a forward for one.
fn only_user(forward: &Forward) -> Option<&str> {
    match &forward.to_user_ids[..] {
        [user] => Some(user),
        _ => None,
    }
}

/// It goes out once more; attempt number `attempt` ended with `code`.
pub(super) fn retry(peer: &Peer, forward: &Forward, attempt: u8, code: Code) {
    let to = only_user(forward);
    let Some(suppressed) = peer.told.due((About::Retry { single: to.is_some() }, code as i32), clock_ms()) else {
        return;
    };
    let (tenant, msg, endpoint) = (&forward.tenant_id, msg_id(forward), &*peer.endpoint);
    match to {
        Some(to) => {
            tracing::warn!(%tenant, attempt, to, %msg, endpoint, status = ?code, suppressed, "grpc_forward_single_retry");
        }
        None => {
            let users = forward.to_user_ids.len();
            tracing::warn!(%tenant, attempt, users, %msg, endpoint, status = ?code, suppressed, "grpc_forward_batch_retry");
        }
    }
}

/// Nobody tries it again; `attempt` 0: it was never on its way.
pub(super) fn failure(peer: &Peer, forward: &Forward, attempt: u8, code: Code) {
    let to = only_user(forward);
    let Some(suppressed) = peer.told.due((About::Failure { single: to.is_some() }, code as i32), clock_ms()) else {
        return;
    };
    let (tenant, msg, endpoint) = (&forward.tenant_id, msg_id(forward), &*peer.endpoint);
    match to {
        Some(to) => {
            tracing::warn!(%tenant, attempt, to, %msg, endpoint, status = ?code, suppressed, "grpc_forward_single_failed");
        }
        None => {
            let users = forward.to_user_ids.len();
            tracing::warn!(%tenant, attempt, users, %msg, endpoint, status = ?code, suppressed, "grpc_forward_batch_failed");
        }
    }
}

/// A call about the offline buffer, as far as a line needs it.
pub(super) struct Buffered {
    about: About,
    tenant: Arc<str>,
    /// Of several the first.
    user: Arc<str>,
}

impl Buffered {
    /// `None`: the call is about something else.
    pub fn of(call: &PeerCall) -> Option<Self> {
        let (about, tenant, user) = match call {
            PeerCall::Place { tenant, kept, .. } => (About::Buffer, tenant, &kept.first()?.user),
            PeerCall::Lease { tenant, user, .. } => (About::Drain, tenant, user),
            _ => return None,
        };
        Some(Buffered { about, tenant: tenant.clone(), user: user.clone() })
    }

    pub fn failed(&self, peer: &Peer, code: Code) {
        let Some(suppressed) = peer.told.due((self.about, code as i32), clock_ms()) else { return };
        let (tenant, user, endpoint) = (&self.tenant, &self.user, &*peer.endpoint);
        if self.about == About::Buffer {
            tracing::warn!(%tenant, to = %user, endpoint, status = ?code, suppressed, "grpc_offline_buffer_failed");
        } else {
            tracing::warn!(%tenant, %user, endpoint, status = ?code, suppressed, "grpc_offline_drain_failed");
        }
    }
}
