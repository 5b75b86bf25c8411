use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

use crate::TelemetryError;
use crate::tracer::{SCOPE, resource};

/// A metric: what it is called, its unit (UCUM) and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Name, in the form of OpenTelemetry: `palinode.outbox.published`.
    pub name: &'static str,
    /// Unit: `s`, `{record}`.
    pub unit: &'static str,
    /// What it says.
    pub words: &'static str,
}

/// A value with its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Labels.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: u64,
}

/// Keeps and exports the metrics of one service. Cheap to clone; one without an exporter keeps
/// nothing.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    provider: Option<SdkMeterProvider>,
}

/// Counts values by size.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    inner: Option<opentelemetry::metrics::Histogram<f64>>,
}

const EXPORT_EVERY: Duration = Duration::from_secs(10);

impl Meter {
    /// A meter that keeps nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self::default()
    }

    /// A meter that exports to an OTLP endpoint over gRPC every ten seconds. Call it inside the
    /// runtime.
    ///
    /// # Errors
    /// `Exporter`: the endpoint is no address. A dead endpoint is no error.
    pub fn otlp(service: &str, endpoint: &str) -> Result<Self, TelemetryError> {
        let exporter = opentelemetry_otlp::MetricExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .map_err(|e| TelemetryError::Exporter {
                endpoint: endpoint.to_owned(),
                cause: e.to_string(),
            })?;
        let reader = PeriodicReader::builder(exporter).with_interval(EXPORT_EVERY);
        Ok(Self::of(service, reader.build()))
    }

    /// A meter whose metrics are kept in memory when it is flushed, for tests.
    #[must_use]
    pub fn in_memory(service: &str, exporter: &InMemoryMetricExporter) -> Self {
        Self::of(service, PeriodicReader::builder(exporter.clone()).build())
    }

    fn of<E: PushMetricExporter>(service: &str, reader: PeriodicReader<E>) -> Self {
        let provider = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(resource(service))
            .build();
        Self {
            provider: Some(provider),
        }
    }

    /// A number that only rises; `read` gives it at every export.
    pub fn counter(&self, metric: Metric, read: impl Fn() -> Vec<Reading> + Send + Sync + 'static) {
        let Some(provider) = &self.provider else {
            return;
        };
        provider
            .meter(SCOPE)
            .u64_observable_counter(metric.name)
            .with_unit(metric.unit)
            .with_description(metric.words)
            .with_callback(move |observer| {
                for reading in read() {
                    observer.observe(reading.value, &labels(reading.labels));
                }
            })
            .build();
    }

    /// A number that rises and falls; `read` gives it at every export.
    pub fn gauge(&self, metric: Metric, read: impl Fn() -> Vec<Reading> + Send + Sync + 'static) {
        let Some(provider) = &self.provider else {
            return;
        };
        provider
            .meter(SCOPE)
            .u64_observable_gauge(metric.name)
            .with_unit(metric.unit)
            .with_description(metric.words)
            .with_callback(move |observer| {
                for reading in read() {
                    observer.observe(reading.value, &labels(reading.labels));
                }
            })
            .build();
    }

    /// Values, counted between `bounds` (ascending, in the metric's unit).
    #[must_use]
    pub fn histogram(&self, metric: Metric, bounds: &[f64]) -> Histogram {
        let inner = self.provider.as_ref().map(|provider| {
            provider
                .meter(SCOPE)
                .f64_histogram(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.words)
                .with_boundaries(bounds.to_vec())
                .build()
        });
        Histogram { inner }
    }

    /// Exports what there is. Blocks: call it off the runtime.
    pub fn flush(&self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.force_flush()
        {
            tracing::warn!(%error, "some metrics were not exported");
        }
    }
}

impl Histogram {
    /// Counts a value.
    pub fn record(&self, value: f64, labels: &[(&'static str, &str)]) {
        if let Some(inner) = &self.inner {
            let labels = labels
                .iter()
                .map(|(name, value)| KeyValue::new(*name, (*value).to_owned()));
            inner.record(value, &labels.collect::<Vec<_>>());
        }
    }
}

fn labels(labels: Vec<(&'static str, String)>) -> Vec<KeyValue> {
    let labels = labels.into_iter();
    labels
        .map(|(name, value)| KeyValue::new(name, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: Metric = Metric {
        name: "count",
        unit: "1",
        words: "Counts",
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_collector_is_called_and_a_dead_one_is_no_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let meter = Meter::otlp("test", &endpoint).unwrap();
        meter.counter(COUNT, || {
            vec![Reading {
                labels: vec![],
                value: 7,
            }]
        });
        let flushed = meter.clone();
        let flushed = tokio::task::spawn_blocking(move || flushed.flush());
        // somebody calls, in the way of HTTP/2, and gets no answer
        let called = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut preface = [0; 14];
            std::io::Read::read_exact(&mut stream, &mut preface).unwrap();
            preface
        });
        assert_eq!(&called.await.unwrap(), b"PRI * HTTP/2.0");
        flushed.await.unwrap();
    }
}
