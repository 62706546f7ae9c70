//! Traces as OpenTelemetry sends them: OTLP over gRPC to a collector, in batches, off the paths of messages. Must never
//! hold a message up: what a slow collector does not take is dropped.

use std::time::Duration;

use mics_domain::trace::{Span, SpanKind, TraceParent, Tracer};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, Status, TraceContextExt as _, TraceFlags, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, SpanId, TraceId};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use crate::background::Background;
use crate::config::TraceConfig;

/// How long the collector may take for a batch.
const EXPORT: Duration = Duration::from_secs(5);

/// Records a share of what happens. Ends with what it has sent out.
pub struct Traces {
    tracer: SdkTracer,
    /// A trace is recorded when a number drawn is below this.
    sample_below: u64,
    provider: SdkTracerProvider,
    /// The exporter's connection lives here.
    _background: Background,
}

impl Traces {
    /// Connects when there is something to send. Errors are the operating system's and the library's.
    pub fn start(config: &TraceConfig, node_id: &str) -> Result<Traces, String> {
        let background = Background::start("mics-traces", 1).map_err(|error| error.to_string())?;
        let exporter = {
            let _context = background.handle().enter();
            let exporter = SpanExporter::builder().with_tonic().with_endpoint(&config.endpoint).with_timeout(EXPORT);
            exporter.build().map_err(|error| error.to_string())?
        };
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", config.service.clone()),
            KeyValue::new("service.instance.id", node_id.to_owned()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ]);
        // Whether a trace is recorded is decided here, before anything is built for it.
        let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_resource(resource.build());
        let provider = provider.with_batch_exporter(exporter).build();
        let sample_below = (config.share * u64::MAX as f64) as u64;
        Ok(Traces { tracer: provider.tracer("mics"), sample_below, provider, _background: background })
    }

    fn is_chosen(&self) -> bool {
        self.sample_below == u64::MAX || rand::random::<u64>() < self.sample_below
    }

    /// Sends what is left; waits for the collector for at most `time`.
    pub fn finish(&self, time: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(time) {
            tracing::warn!(%error, "traces_lost_at_shutdown");
        }
    }
}

impl Tracer for Traces {
    fn begin(&self, name: &'static str, kind: SpanKind, parent: Option<TraceParent>) -> Option<Box<dyn Span>> {
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(remote(parent)),
            None if self.is_chosen() => Context::new(),
            None => return None,
        };
        let kind = match kind {
            SpanKind::Internal => opentelemetry::trace::SpanKind::Internal,
            SpanKind::Client => opentelemetry::trace::SpanKind::Client,
            SpanKind::Server => opentelemetry::trace::SpanKind::Server,
        };
        let span = self.tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), &context);
        Some(Box::new(Recorded(span)))
    }
}

fn remote(TraceParent { trace, span }: TraceParent) -> SpanContext {
    let (trace, span) = (TraceId::from_bytes(trace.to_be_bytes()), SpanId::from_bytes(span.to_be_bytes()));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default())
}

struct Recorded(opentelemetry_sdk::trace::Span);

impl Span for Recorded {
    fn place(&self) -> TraceParent {
        let context = self.0.span_context();
        TraceParent {
            trace: u128::from_be_bytes(context.trace_id().to_bytes()),
            span: u64::from_be_bytes(context.span_id().to_bytes()),
        }
    }

    fn set(&mut self, key: &'static str, value: String) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    fn fail(&mut self, reason: String) {
        self.0.set_status(Status::error(reason));
    }
}
