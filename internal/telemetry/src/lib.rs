//! Trace context, logs, and the export of spans and metrics.
//!
//! Purpose: one trace a saga, whatever process it crosses. A context is a plain value that is
//! stored in rows and carried in headers; a span is written after the commit that it tells of.
//! Invariant: telemetry never decides and never delays; without an exporter nothing is written.
//! Not here: which spans and metrics there are; each crate names its own.

mod context;
mod init;
mod meter;
pub mod names;
mod server;
mod tracer;

pub use context::{InvalidContext, SpanId, TraceContext, TraceId};
pub use init::{LogFormat, init_logs};
pub use meter::{Histogram, Meter, Metric, Reading};
pub use opentelemetry_sdk::metrics::InMemoryMetricExporter;
pub use opentelemetry_sdk::metrics::data as metric_data;
pub use opentelemetry_sdk::trace::{InMemorySpanExporter, InMemorySpanExporterBuilder, SpanData};
pub use server::{ServerSpans, ServerSpansLayer};
pub use tracer::{Finished, Kind, Link, TelemetryError, Tracer};
