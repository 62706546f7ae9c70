//! Between the ports' words and the node service's protobuf. Must not call anybody or decide anything.

use std::sync::Arc;

use bytes::Bytes;
use mics_domain::delivery::{Delivery, DeliveryId, Kept};
use mics_domain::ports::PeerCall;
use mics_proto::node::{
    Forward, KeptFrame, KickRequest, LeaseRequest, NudgeRequest, PlaceRequest, ReplaceRequest, ReportRequest,
    SettleRequest,
};
use tonic::Status;

pub fn id_bytes(id: u128) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

/// Error: not 16 bytes.
pub fn id(bytes: &[u8]) -> Result<u128, Status> {
    let bytes = bytes.try_into().map_err(|_| Status::invalid_argument("an id has 16 bytes"))?;
    Ok(u128::from_be_bytes(bytes))
}

fn ids(all: &[Bytes]) -> Result<Vec<DeliveryId>, Status> {
    all.iter().map(|bytes| id(bytes)).collect()
}

fn strings(all: &[Arc<str>]) -> Vec<String> {
    all.iter().map(|one| one.to_string()).collect()
}

pub fn shared(all: Vec<String>) -> Vec<Arc<str>> {
    all.into_iter().map(Arc::from).collect()
}

/// The sequence number is set later.
pub fn forward(delivery: &Delivery, users: &[Arc<str>]) -> Forward {
    Forward {
        seq: 0,
        tenant_id: delivery.tenant.to_string(),
        delivery_id: id_bytes(delivery.id),
        request: delivery.request.clone(),
        to_user_ids: strings(users),
        shared: delivery.shared,
        traceparent: delivery.trace.map(|trace| trace.to_string()).unwrap_or_default(),
    }
}

pub fn kept_frame(kept: Kept) -> KeptFrame {
    KeptFrame {
        user_id: kept.user.to_string(),
        delivery_id: id_bytes(kept.id),
        frame: kept.frame,
        ttl_ms: kept.ttl_ms,
        device_ids: strings(&kept.devices),
    }
}

pub fn kept(frame: KeptFrame) -> Result<Kept, Status> {
    Ok(Kept {
        user: frame.user_id.into(),
        id: id(&frame.delivery_id)?,
        // Copied: a slice would keep the whole request in memory for as long as the frame waits.
        frame: Bytes::copy_from_slice(&frame.frame),
        ttl_ms: frame.ttl_ms,
        devices: shared(frame.device_ids),
    })
}

/// A [`PeerCall`] as the request that carries it.
#[derive(Clone)]
pub enum CallRequest {
    Place(PlaceRequest),
    Lease(LeaseRequest),
    Settle(SettleRequest),
    Nudge(NudgeRequest),
    Replace(ReplaceRequest),
    Kick(KickRequest),
    Report(ReportRequest),
}

pub fn call_request(call: PeerCall) -> CallRequest {
    match call {
        PeerCall::Place { tenant, kept, view } => {
            let kept = kept.into_iter().map(kept_frame).collect();
            CallRequest::Place(PlaceRequest { tenant_id: tenant.to_string(), kept, view })
        }
        PeerCall::Lease { tenant, user, device, holder, hold_ms } => CallRequest::Lease(LeaseRequest {
            tenant_id: tenant.to_string(),
            user_id: user.to_string(),
            device_id: device.to_string(),
            hold_ms,
            holder: id_bytes(holder),
        }),
        PeerCall::Settle { tenant, user, device, taken, released } => CallRequest::Settle(SettleRequest {
            tenant_id: tenant.to_string(),
            user_id: user.to_string(),
            device_id: device.to_string(),
            taken: taken.into_iter().map(id_bytes).collect(),
            released: released.into_iter().map(id_bytes).collect(),
        }),
        PeerCall::Nudge { tenant, users } => {
            CallRequest::Nudge(NudgeRequest { tenant_id: tenant.to_string(), user_ids: strings(&users) })
        }
        PeerCall::Replace { tenant, user, device, connection } => CallRequest::Replace(ReplaceRequest {
            tenant_id: tenant.to_string(),
            user_id: user.to_string(),
            device_id: device.to_string(),
            connection_id: id_bytes(connection),
        }),
        PeerCall::Kick { tenant, user, device } => CallRequest::Kick(KickRequest {
            tenant_id: tenant.to_string(),
            user_id: user.to_string(),
            device_id: device.to_string(),
        }),
        PeerCall::Report { tenants } => CallRequest::Report(ReportRequest { tenant_ids: strings(&tenants) }),
    }
}

pub fn peer_call(request: CallRequest) -> Result<PeerCall, Status> {
    Ok(match request {
        CallRequest::Place(PlaceRequest { tenant_id, kept: frames, view }) => {
            let kept = frames.into_iter().map(kept).collect::<Result<_, _>>()?;
            PeerCall::Place { tenant: tenant_id.into(), kept, view }
        }
        CallRequest::Lease(LeaseRequest { tenant_id, user_id, device_id, hold_ms, holder }) => PeerCall::Lease {
            tenant: tenant_id.into(),
            user: user_id.into(),
            device: device_id.into(),
            // Nodes that are older do not say.
            holder: if holder.is_empty() { 0 } else { id(&holder)? },
            hold_ms,
        },
        CallRequest::Settle(SettleRequest { tenant_id, user_id, device_id, taken, released }) => PeerCall::Settle {
            tenant: tenant_id.into(),
            user: user_id.into(),
            device: device_id.into(),
            taken: ids(&taken)?,
            released: ids(&released)?,
        },
        CallRequest::Nudge(NudgeRequest { tenant_id, user_ids }) => {
            PeerCall::Nudge { tenant: tenant_id.into(), users: shared(user_ids) }
        }
        CallRequest::Replace(ReplaceRequest { tenant_id, user_id, device_id, connection_id }) => PeerCall::Replace {
            tenant: tenant_id.into(),
            user: user_id.into(),
            device: device_id.into(),
            connection: id(&connection_id)?,
        },
        CallRequest::Kick(KickRequest { tenant_id, user_id, device_id }) => {
            PeerCall::Kick { tenant: tenant_id.into(), user: user_id.into(), device: device_id.into() }
        }
        CallRequest::Report(ReportRequest { tenant_ids }) => PeerCall::Report { tenants: shared(tenant_ids) },
    })
}
