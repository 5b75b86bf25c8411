//! Trace context, logs and the export of spans.
//!
//! Purpose: one trace a saga, whatever process it crosses. A context is a plain value that is
//! stored in rows and carried in headers; a span is written after the commit that it tells of.
//! Invariant: telemetry never decides and never delays; without an exporter nothing is written.
//! Not here: metrics (they come with the observability of the platform).

mod context;
mod init;
pub mod names;
mod server;
mod tracer;

pub use context::{InvalidContext, SpanId, TraceContext, TraceId};
pub use init::{LogFormat, init_logs};
pub use opentelemetry_sdk::trace::{InMemorySpanExporter, InMemorySpanExporterBuilder, SpanData};
pub use server::{ServerSpans, ServerSpansLayer};
pub use tracer::{Finished, Kind, Link, TelemetryError, Tracer};
