//! What other nodes may ask, in their words and in those of the reference's nodes. Must not decide anything about a
//! message: it translates, asks this node, and answers.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use mics_actors::frame;
use mics_actors::ports::PeerNode;
use mics_domain::delivery::{Delivery, DeliveryId, Kept};
use mics_domain::ports::{PeerAnswer, PeerCall};
use mics_domain::tenant::TenantConfig;
use mics_domain::trace::TraceParent;
use mics_proto::message::MessageRequest;
use mics_proto::node::node_gateway_server::NodeGateway;
use mics_proto::node::{
    BufferOfflineRequest, DrainOfflineRequest, DrainOfflineResponse, Forward, ForwardAck, ForwardBatchRequest,
    ForwardResult, ForwardSingleRequest, ForwardsRequest, ForwardsResponse, KickRequest, KickResponse, LeaseRequest,
    LeaseResponse, NudgeRequest, NudgeResponse, PlaceRequest, PlaceResponse, ReplaceRequest, ReplaceResponse,
    ReportRequest, ReportResponse, SettleRequest, SettleResponse,
};
use prost::Message as _;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::report;
use super::wire::{self, CallRequest};

/// Gives deliveries an identity whose sender gave them none.
pub type NextId = Arc<dyn Fn() -> DeliveryId + Send + Sync>;

/// Between reading a user's frames and forgetting them, for a caller that can't say when it has them.
const DRAIN_HOLD_MS: u64 = 5_000;

pub(super) struct Service {
    pub node: Arc<dyn PeerNode>,
    pub next_id: NextId,
    /// Changes, or closes, when the server stops.
    pub stopping: watch::Receiver<()>,
}

impl Service {
    fn answer(&self, request: CallRequest) -> Result<PeerAnswer, Status> {
        Ok(self.node.answer(wire::peer_call(request)?))
    }

    /// The tenant is the one the peer named for the call, not the one inside the message.
    fn deliver(
        &self,
        tenant: String,
        users: Vec<String>,
        message: Option<MessageRequest>,
        given: &[u8],
    ) -> Result<Response<ForwardAck>, Status> {
        let mut request = message.ok_or_else(|| Status::invalid_argument("no message"))?;
        request.tenant_id.clone_from(&tenant);
        let id = if given.is_empty() { (self.next_id)() } else { wire::id(given)? };
        let delivery =
            Delivery { tenant: tenant.into(), id, request: request.encode_to_vec().into(), shared: false, trace: None };
        let sessions_reached = self.node.deliver(&delivery, &wire::shared(users));
        Ok(Response::new(ForwardAck { ok: true, reason: String::new(), sessions_reached }))
    }
}

fn wrong_answer<T>() -> Result<T, Status> {
    Err(Status::internal("the node answered another question"))
}

fn done<T: Default>(answer: PeerAnswer) -> Result<Response<T>, Status> {
    match answer {
        PeerAnswer::Done => Ok(Response::new(T::default())),
        _ => wrong_answer(),
    }
}

fn carry_out(node: &dyn PeerNode, forward: Forward) -> ForwardResult {
    let seq = forward.seq;
    match wire::id(&forward.delivery_id) {
        Err(status) => ForwardResult { seq, ok: false, reason: status.message().to_owned(), ..Default::default() },
        Ok(id) => {
            let Forward { tenant_id, request, to_user_ids, shared, traceparent, .. } = forward;
            let trace = TraceParent::parse(&traceparent);
            let delivery = Delivery { tenant: tenant_id.into(), id, request, shared, trace };
            let sessions_reached = node.deliver(&delivery, &wire::shared(to_user_ids));
            ForwardResult { seq, ok: true, reason: String::new(), sessions_reached }
        }
    }
}

/// One batch at a time: it is read when the answers to the one before have room on the wire.
fn carry_out_all(
    node: Arc<dyn PeerNode>,
    stopping: watch::Receiver<()>,
    batches: Streaming<ForwardsRequest>,
) -> impl Stream<Item = Result<ForwardsResponse, Status>> {
    stream::try_unfold((node, stopping, batches), |(node, mut stopping, mut batches)| async move {
        let batch = tokio::select! {
            biased;
            _ = stopping.changed() => None,
            batch = batches.message() => batch?,
        };
        let Some(ForwardsRequest { forwards }) = batch else { return Ok(None) };
        let results = forwards.into_iter().map(|forward| carry_out(&*node, forward)).collect();
        Ok(Some((ForwardsResponse { results }, (node, stopping, batches))))
    })
}

#[tonic::async_trait]
impl NodeGateway for Service {
    async fn forward_single(&self, request: Request<ForwardSingleRequest>) -> Result<Response<ForwardAck>, Status> {
        let ForwardSingleRequest { tenant_id, to_user_id, message, delivery_id } = request.into_inner();
        self.deliver(tenant_id, vec![to_user_id], message, &delivery_id)
    }

    async fn forward_batch(&self, request: Request<ForwardBatchRequest>) -> Result<Response<ForwardAck>, Status> {
        let ForwardBatchRequest { tenant_id, to_user_ids, message, delivery_id } = request.into_inner();
        self.deliver(tenant_id, to_user_ids, message, &delivery_id)
    }

    async fn buffer_offline(&self, request: Request<BufferOfflineRequest>) -> Result<Response<ForwardAck>, Status> {
        let BufferOfflineRequest { tenant_id, to_user_id, server_frame, ttl_seconds } = request.into_inner();
        let kept = Kept {
            user: to_user_id.into(),
            id: (self.next_id)(),
            frame: frame::binary(&server_frame),
            ttl_ms: TenantConfig::seconds_or(ttl_seconds, TenantConfig::DEFAULT_OFFLINE_TTL_SECONDS),
            devices: Vec::new(),
        };
        let place = PeerCall::Place { tenant: tenant_id.into(), kept: vec![kept], view: 0 };
        let ok = self.node.answer(place) == PeerAnswer::Placed(vec![true]);
        let reason = if ok { String::new() } else { "offline buffer full".to_owned() };
        Ok(Response::new(ForwardAck { ok, reason, sessions_reached: Vec::new() }))
    }

    async fn drain_offline(
        &self,
        request: Request<DrainOfflineRequest>,
    ) -> Result<Response<DrainOfflineResponse>, Status> {
        let DrainOfflineRequest { tenant_id, user_id } = request.into_inner();
        let (tenant, user): (Arc<str>, Arc<str>) = (tenant_id.into(), user_id.into());
        let lease = PeerCall::Lease {
            tenant: tenant.clone(),
            user: user.clone(),
            device: "".into(),
            holder: 0,
            hold_ms: DRAIN_HOLD_MS,
        };
        let PeerAnswer::Leased { kept, .. } = self.node.answer(lease) else { return wrong_answer() };
        if !kept.is_empty() {
            let taken = kept.iter().map(|kept| kept.id).collect();
            self.node.answer(PeerCall::Settle { tenant, user, device: "".into(), taken, released: Vec::new() });
        }
        let server_frames: Vec<Bytes> = kept.iter().map(|kept| frame::payload(&kept.frame)).collect();
        Ok(Response::new(DrainOfflineResponse { server_frames }))
    }

    type ForwardsStream = Pin<Box<dyn Stream<Item = Result<ForwardsResponse, Status>> + Send>>;

    async fn forwards(
        &self,
        request: Request<Streaming<ForwardsRequest>>,
    ) -> Result<Response<Self::ForwardsStream>, Status> {
        let answers = carry_out_all(self.node.clone(), self.stopping.clone(), request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn place(&self, request: Request<PlaceRequest>) -> Result<Response<PlaceResponse>, Status> {
        match self.answer(CallRequest::Place(request.into_inner()))? {
            PeerAnswer::Placed(placed) => Ok(Response::new(PlaceResponse { placed })),
            PeerAnswer::Leaving => Err(Status::failed_precondition("this node is leaving")),
            PeerAnswer::NotServed => Err(Status::not_found("this node does not serve the tenant")),
            _ => wrong_answer(),
        }
    }

    async fn lease(&self, request: Request<LeaseRequest>) -> Result<Response<LeaseResponse>, Status> {
        match self.answer(CallRequest::Lease(request.into_inner()))? {
            PeerAnswer::Leased { kept, held } => {
                Ok(Response::new(LeaseResponse { kept: kept.into_iter().map(wire::kept_frame).collect(), held }))
            }
            _ => wrong_answer(),
        }
    }

    async fn settle(&self, request: Request<SettleRequest>) -> Result<Response<SettleResponse>, Status> {
        done(self.answer(CallRequest::Settle(request.into_inner()))?)
    }

    async fn nudge(&self, request: Request<NudgeRequest>) -> Result<Response<NudgeResponse>, Status> {
        done(self.answer(CallRequest::Nudge(request.into_inner()))?)
    }

    async fn replace(&self, request: Request<ReplaceRequest>) -> Result<Response<ReplaceResponse>, Status> {
        done(self.answer(CallRequest::Replace(request.into_inner()))?)
    }

    async fn kick(&self, request: Request<KickRequest>) -> Result<Response<KickResponse>, Status> {
        match self.answer(CallRequest::Kick(request.into_inner()))? {
            PeerAnswer::Kicked(closed) => Ok(Response::new(KickResponse { closed })),
            _ => wrong_answer(),
        }
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        match self.answer(CallRequest::Report(request.into_inner()))? {
            PeerAnswer::Report(report) => Ok(Response::new(report::write(*report))),
            _ => wrong_answer(),
        }
    }
}
