use palinode_relay::{Relay, metrics};
use palinode_telemetry::metric_data::{AggregatedMetrics, MetricData};
use palinode_telemetry::{InMemoryMetricExporter, Meter, Metric, Tracer};
use palinode_values::Clock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::stack::{LIMIT, Stack, quick};

#[test]
fn every_metric_is_in_the_reference() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/metrics.md"
    );
    let reference = std::fs::read_to_string(file).unwrap();
    for Metric { name, unit, words } in metrics::ALL {
        let mut lines = reference.lines();
        let line = lines.find(|line| line.starts_with(&format!("| `{name}` |")));
        let line = line.unwrap_or_else(|| panic!("{name} is missing"));
        assert!(line.contains(&format!("`{unit}`")), "{line}");
        assert!(line.ends_with(&format!("| {words} |")), "{line}");
    }
}

/// The values of a metric in the last export, and of a histogram how many it has counted.
fn last(exporter: &InMemoryMetricExporter, metric: Metric) -> Vec<u64> {
    let exports = exporter.get_finished_metrics().unwrap();
    let scopes = exports.last().unwrap().scope_metrics();
    let mut all = scopes.flat_map(|scope| scope.metrics());
    let found = all.find(|found| found.name() == metric.name);
    let found = found.unwrap_or_else(|| panic!("{} is not exported", metric.name));
    assert_eq!(
        (found.unit(), found.description()),
        (metric.unit, metric.words)
    );
    match found.data() {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => {
            assert!(sum.is_monotonic());
            sum.data_points().map(|point| point.value()).collect()
        }
        AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
            gauge.data_points().map(|point| point.value()).collect()
        }
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
            histogram.data_points().map(|point| point.count()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_says_how_it_is_doing() {
    let mut stack = Stack::start(1).await;
    let exporter = InMemoryMetricExporter::default();
    let meter = Meter::in_memory("order", &exporter);
    let sources = vec![stack.source()];
    let clock = Clock::system();
    let relay = Relay::new(
        quick(),
        sources,
        stack.producer(),
        Tracer::disabled(),
        clock,
    );
    let relay = relay.measured_by(&meter);
    let mut status = relay.status().remove(0);
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(relay.run(stop.clone()));
    stack.write("a", &[b"1", b"2", b"3"]).await;
    stack.see(3).await;
    let counted = status.wait_for(|status| status.published == 3);
    tokio::time::timeout(LIMIT, counted).await.unwrap().unwrap();
    let export = move || meter.flush();
    tokio::task::spawn_blocking(export).await.unwrap();

    assert_eq!(last(&exporter, metrics::PUBLISHED), [3]);
    assert_eq!(last(&exporter, metrics::PARKED), [0]);
    assert_eq!(last(&exporter, metrics::LANES), [64]);
    assert_eq!(last(&exporter, metrics::UP), [1, 1]);
    assert!(last(&exporter, metrics::LAG)[0] >= 1);
    stop.cancel();
    running.join_next().await.unwrap().unwrap();
    stack.end().await;
}
