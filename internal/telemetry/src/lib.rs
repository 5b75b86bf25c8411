//! Trace context, logs and the export of spans
