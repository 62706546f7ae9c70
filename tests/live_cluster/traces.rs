//! One trace of a message across two nodes, as a collector gets it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status};

use super::processes::{Cluster, wait};
use super::redis_support::redis_is_missing;
use super::users::User;

/// (node that recorded it, span)
type Received = Arc<Mutex<Vec<(String, Span)>>>;

struct Collector(Received);

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for group in request.into_inner().resource_spans {
            let resource = group.resource.unwrap_or_default().attributes;
            assert_eq!(text(&resource, "service.name"), "mics-gateway");
            let node = text(&resource, "service.instance.id");
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| (node.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn collector() -> (SocketAddr, Received) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Received::default();
    let service = TraceServiceServer::new(Collector(received.clone()));
    let sockets = futures_util::stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(socket, _)| socket), listener))
    });
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(sockets));
    (address, received)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_one_trace_from_the_senders_frame_to_the_other_nodes_delivery() {
    if redis_is_missing("a_message_is_one_trace_from_the_senders_frame_to_the_other_nodes_delivery") {
        return;
    }
    let (address, received) = collector().await;
    let cluster = Cluster::with(2, |plan| {
        plan.set("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
        plan.set("OTEL_TRACES_SAMPLER_ARG", 1);
    })
    .await;
    let alice = User::at(&cluster.nodes[0], "alice").await;
    let bob = User::at(&cluster.nodes[1], "bob").await;
    alice.tell("bob", "m-1").await;
    bob.got(&["m-1".into()]).await;
    let spans = || received.lock().unwrap().clone();
    let of = |name: &str| spans().into_iter().find(|(_, span)| span.name == name);
    wait("the collector has it all", || of("message").is_some() && of("deliver_from_peer").is_some()).await;

    let (node, message) = of("message").unwrap();
    assert_eq!((node.as_str(), text(&message.attributes, "mics.msg_id").as_str()), ("node-1", "m-1"));
    assert!(message.parent_span_id.is_empty());
    let trace: Vec<_> = spans().into_iter().filter(|(_, span)| span.trace_id == message.trace_id).collect();
    let parent = |child: &str| {
        let (_, child) = trace.iter().find(|(_, span)| span.name == child).unwrap_or_else(|| panic!("no {child}"));
        let parent = trace.iter().find(|(_, span)| span.span_id == child.parent_span_id);
        parent.map(|(node, span)| (node.as_str(), span.name.as_str()))
    };
    assert_eq!(parent("check_message"), Some(("node-1", "message")));
    assert_eq!(parent("locate"), Some(("node-1", "message")));
    assert_eq!(parent("deliver"), Some(("node-1", "message")));
    assert_eq!(parent("forward"), Some(("node-1", "deliver")));
    assert_eq!(parent("deliver_from_peer"), Some(("node-1", "deliver")));
    let (there, _) = trace.iter().find(|(_, span)| span.name == "deliver_from_peer").unwrap();
    assert_eq!(there, "node-2");
    assert!(spans().iter().any(|(node, span)| node == "node-2" && span.name == "connect"), "connects are traced");
}
