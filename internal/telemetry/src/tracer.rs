use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, Tracer as _,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue, SpanId as OtelSpanId, TraceId as OtelTraceId};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, InMemorySpanExporter, RandomIdGenerator,
    SdkTracer, SdkTracerProvider, SimpleSpanProcessor,
};
use palinode_values::Timestamp;

use crate::{SpanId, TraceContext, TraceId};

/// Telemetry that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter cannot be read.
    #[error("the log filter cannot be read: {0}")]
    Filter(String),
    /// Logs were set up twice.
    #[error("logs cannot be set up: {0}")]
    Logs(String),
    /// The exporter cannot be made.
    #[error("nothing can be exported to {endpoint}: {cause}")]
    Exporter {
        /// Where they were to go.
        endpoint: String,
        /// The exporter's own words.
        cause: String,
    },
}

/// The role of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers a request.
    Server,
    /// Makes a request.
    Client,
    /// Creates a message.
    Producer,
    /// Handles a message.
    Consumer,
    /// Everything else.
    Internal,
}

/// A link to a span of any trace, with the reason for it.
#[derive(Debug, Clone)]
pub struct Link {
    /// The span linked to.
    pub to: TraceContext,
    /// `link.kind`.
    pub kind: &'static str,
}

/// A span that is over: what it was, and when.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Name of the span.
    pub name: String,
    /// Role.
    pub kind: Kind,
    /// The span's own ids.
    pub context: TraceContext,
    /// Its parent, if it is no root.
    pub parent: Option<SpanId>,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; clamped, so that no end precedes its start.
    pub end: Timestamp,
    /// Keys from [`crate::names`].
    pub attributes: Vec<(&'static str, String)>,
    /// Links.
    pub links: Vec<Link>,
    /// Words of the failure, if it was one.
    pub error: Option<String>,
}

/// Writes finished spans of one service. Cheap to clone; one without an exporter writes nothing.
#[derive(Debug, Clone, Default)]
pub struct Tracer {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

pub(crate) const SCOPE: &str = "palinode";
const SPANS_QUEUED_MAX: usize = 65_536;
const SPANS_EXPORTED_AT_ONCE: usize = 2_048;
const EXPORT_EVERY: Duration = Duration::from_millis(500);

impl Tracer {
    /// A tracer that writes nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self::default()
    }

    /// A tracer that exports to an OTLP endpoint over gRPC, such as `http://127.0.0.1:4317`.
    /// Call it inside the runtime.
    ///
    /// # Errors
    /// `Exporter`: the endpoint is no address. A dead endpoint is no error: it costs spans only.
    pub fn otlp(service: &str, endpoint: &str) -> Result<Self, TelemetryError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .map_err(|e| TelemetryError::Exporter {
                endpoint: endpoint.to_owned(),
                cause: e.to_string(),
            })?;
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(
                BatchConfigBuilder::default()
                    .with_max_queue_size(SPANS_QUEUED_MAX)
                    .with_max_export_batch_size(SPANS_EXPORTED_AT_ONCE)
                    .with_scheduled_delay(EXPORT_EVERY)
                    .build(),
            )
            .build();
        Ok(Self::of(
            SdkTracerProvider::builder()
                .with_span_processor(processor)
                .with_id_generator(ReservedIds::default())
                .with_resource(resource(service))
                .build(),
        ))
    }

    /// A tracer that keeps its spans in memory, for tests.
    #[must_use]
    pub fn in_memory(service: &str, exporter: &InMemorySpanExporter) -> Self {
        Self::of(
            SdkTracerProvider::builder()
                .with_span_processor(SimpleSpanProcessor::new(exporter.clone()))
                .with_id_generator(ReservedIds::default())
                .with_resource(resource(service))
                .build(),
        )
    }

    fn of(provider: SdkTracerProvider) -> Self {
        let tracer = provider.tracer(SCOPE);
        Self {
            inner: Some(Arc::new(Inner { tracer, provider })),
        }
    }

    /// Whether spans are written at all; ask before building many.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.inner.is_some()
    }

    /// Writes one finished span. Its ids were drawn earlier (they stand in rows and headers), so
    /// the span is started under these very ids: reserve, commit, then emit.
    pub fn emit(&self, span: Finished) {
        let Some(inner) = &self.inner else { return };
        if !span.context.sampled {
            return;
        }
        let parent = match span.parent {
            Some(parent) => Context::new().with_remote_span_context(SpanContext::new(
                OtelTraceId::from(span.context.trace_id.0),
                OtelSpanId::from(parent.0),
                TraceFlags::SAMPLED,
                true,
                TraceState::default(),
            )),
            None => Context::new(),
        };
        let builder = inner
            .tracer
            .span_builder(span.name)
            .with_kind(match span.kind {
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
                Kind::Producer => SpanKind::Producer,
                Kind::Consumer => SpanKind::Consumer,
                Kind::Internal => SpanKind::Internal,
            })
            .with_start_time(SystemTime::from(span.start))
            .with_attributes(
                span.attributes
                    .into_iter()
                    .map(|(k, v)| KeyValue::new(k, v)),
            )
            .with_links(span.links.into_iter().map(otel_link).collect());
        RESERVED.set(Some((span.context.trace_id, span.context.span_id)));
        let mut started = inner.tracer.build_with_context(builder, &parent);
        RESERVED.set(None);
        if let Some(words) = span.error {
            started.set_status(Status::error(words));
        }
        started.end_with_timestamp(SystemTime::from(span.end.max(span.start)));
    }

    /// Sends what is queued, for a few seconds at most. Blocks: call it off the runtime.
    pub fn flush(&self) {
        if let Some(inner) = &self.inner
            && let Err(error) = inner.provider.force_flush()
        {
            tracing::warn!(%error, "some spans were not exported");
        }
    }
}

pub(crate) fn resource(service: &str) -> Resource {
    Resource::builder()
        .with_service_name(service.to_owned())
        .build()
}

fn otel_link(link: Link) -> opentelemetry::trace::Link {
    let context = SpanContext::new(
        OtelTraceId::from(link.to.trace_id.0),
        OtelSpanId::from(link.to.span_id.0),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    opentelemetry::trace::Link::new(context, vec![KeyValue::new("link.kind", link.kind)], 0)
}

thread_local! {
    /// The ids of the span that is being started on this thread.
    static RESERVED: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Gives the reserved ids to the span that is being started, and random ones to any other.
#[derive(Debug, Default)]
struct ReservedIds {
    random: RandomIdGenerator,
}

impl IdGenerator for ReservedIds {
    fn new_trace_id(&self) -> OtelTraceId {
        match RESERVED.get() {
            Some((trace, _)) => OtelTraceId::from(trace.0),
            None => self.random.new_trace_id(),
        }
    }

    fn new_span_id(&self) -> OtelSpanId {
        match RESERVED.get() {
            Some((_, span)) => OtelSpanId::from(span.0),
            None => self.random.new_span_id(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_under_the_ids_that_were_reserved_for_it() {
        let exporter = InMemorySpanExporter::default();
        let tracer = Tracer::in_memory("order", &exporter);
        let root = TraceContext::root();
        let child = root.child();
        let at: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (context, parent) in [(&root, None), (&child, Some(root.span_id))] {
            tracer.emit(Finished {
                name: "x".to_owned(),
                kind: Kind::Internal,
                context: context.clone(),
                parent,
                start: at,
                end: at,
                attributes: vec![],
                links: vec![],
                error: None,
            });
        }
        let spans = exporter.get_finished_spans().unwrap();
        assert_eq!(spans.len(), 2);
        assert_eq!(
            spans[0].span_context.trace_id(),
            OtelTraceId::from(root.trace_id.0)
        );
        assert_eq!(
            spans[0].span_context.span_id(),
            OtelSpanId::from(root.span_id.0)
        );
        assert_eq!(
            spans[1].span_context.trace_id(),
            OtelTraceId::from(root.trace_id.0)
        );
        assert_eq!(spans[1].parent_span_id, OtelSpanId::from(root.span_id.0));
    }
}
