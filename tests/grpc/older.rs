//! A node that speaks the contract's first version, where a forward is a call and has no identity.

use std::sync::Arc;

use futures_util::stream;
use mics_actors::contract::link::Recorder;
use mics_actors::ports::PeerNode as _;
use mics_domain::delivery::Delivery;
use mics_proto::message::MessageRequest;
use mics_proto::node::node_gateway_server::{NodeGateway, NodeGatewayServer};
use mics_proto::node::{
    BufferOfflineRequest, DrainOfflineRequest, DrainOfflineResponse, ForwardAck, ForwardBatchRequest,
    ForwardSingleRequest, ForwardsRequest, ForwardsResponse, KickRequest, KickResponse, LeaseRequest, LeaseResponse,
    NudgeRequest, NudgeResponse, PlaceRequest, PlaceResponse, ReplaceRequest, ReplaceResponse, ReportRequest,
    ReportResponse, SettleRequest, SettleResponse,
};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use super::LOOPBACK;

/// A node of the contract's first version: two forwards, and nothing beyond.
struct Older(Arc<Recorder>);

impl Older {
    fn take(&self, tenant: String, to: Vec<String>, message: Option<MessageRequest>) -> Response<ForwardAck> {
        let request = message.expect("a message").encode_to_vec().into();
        let to: Vec<Arc<str>> = to.into_iter().map(Arc::from).collect();
        self.0.deliver(&Delivery { tenant: tenant.into(), id: 0, request, shared: false, trace: None }, &to);
        Response::new(ForwardAck { ok: true, ..Default::default() })
    }
}

#[tonic::async_trait]
impl NodeGateway for Older {
    async fn forward_single(&self, request: Request<ForwardSingleRequest>) -> Result<Response<ForwardAck>, Status> {
        let request = request.into_inner();
        Ok(self.take(request.tenant_id, vec![request.to_user_id], request.message))
    }
    async fn forward_batch(&self, request: Request<ForwardBatchRequest>) -> Result<Response<ForwardAck>, Status> {
        let request = request.into_inner();
        Ok(self.take(request.tenant_id, request.to_user_ids, request.message))
    }
    async fn buffer_offline(&self, _: Request<BufferOfflineRequest>) -> Result<Response<ForwardAck>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn drain_offline(&self, _: Request<DrainOfflineRequest>) -> Result<Response<DrainOfflineResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    type ForwardsStream = stream::Empty<Result<ForwardsResponse, Status>>;
    async fn forwards(&self, _: Request<Streaming<ForwardsRequest>>) -> Result<Response<Self::ForwardsStream>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn place(&self, _: Request<PlaceRequest>) -> Result<Response<PlaceResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn lease(&self, _: Request<LeaseRequest>) -> Result<Response<LeaseResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn settle(&self, _: Request<SettleRequest>) -> Result<Response<SettleResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn nudge(&self, _: Request<NudgeRequest>) -> Result<Response<NudgeResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn replace(&self, _: Request<ReplaceRequest>) -> Result<Response<ReplaceResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn kick(&self, _: Request<KickRequest>) -> Result<Response<KickResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Serves `Older` on a port, as long as the test runs.
pub async fn serve(node: Arc<Recorder>) -> String {
    let listener = tokio::net::TcpListener::bind(LOOPBACK).await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let sockets = stream::unfold(listener, |listener| async {
        let socket = listener.accept().await.map(|(socket, _)| socket);
        Some((socket, listener))
    });
    let service = NodeGatewayServer::new(Older(node));
    let serve = tonic::transport::Server::builder().add_service(service).serve_with_incoming(sockets);
    tokio::spawn(async move { serve.await.expect("a running server") });
    endpoint
}
