use palinode_lab::bench::{self, Common, Report, Sagas};
use serde_json::Value as Json;

/// The shortest that there is: its figures say nothing, its fields do.
fn short() -> Common {
    Common {
        seconds: Some(1),
        ..Common::default()
    }
}

fn line(report: &Report) -> Json {
    let mut out = Vec::new();
    report.write_json(&mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn assert_positive(line: &Json, fields: &[&str]) {
    for field in fields {
        let value = line[field].as_f64();
        assert!(
            value.is_some_and(|value| value > 0.0),
            "{field} in {line:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sagas_end_as_they_must_and_are_measured() {
    let options = Sagas {
        pace: bench::Pace::InFlight(8),
        failing: 25,
        cards: 50,
        ..Sagas::default()
    };
    let report = bench::sagas(&short(), options).await.unwrap();
    let line = line(&report);
    assert_eq!(line["bench"], "sagas");
    assert!(report.is_good(), "{line:#}");
    assert_positive(
        &line,
        &[
            "per_s",
            "p50_ms",
            "p90_ms",
            "p99_ms",
            "p999_ms",
            "call_p50_ms",
            "completed",
            "compensated",
            "wal_bytes_per_saga",
        ],
    );
    let ended = line["completed"].as_u64().unwrap() + line["compensated"].as_u64().unwrap();
    assert_eq!(line["placed"].as_u64(), Some(ended));
    let cpu = &line["cpu_us_per_saga"];
    assert_positive(cpu, &["palinode", "postgres"]);
    assert_eq!(line["machine"]["postgres"]["fsync"], "on");
    let mut drawn = Vec::new();
    report.write(&mut drawn).unwrap();
    assert!(String::from_utf8(drawn).unwrap().contains("no violations"));
}

#[tokio::test(flavor = "multi_thread")]
async fn latency_is_measured_through_rest() {
    let report = bench::latency(&short(), 20).await.unwrap();
    let line = line(&report);
    assert_eq!(line["bench"], "latency");
    assert_eq!(line["settings"]["rate"], 20);
    assert!(report.is_good(), "{line:#}");
    assert_positive(&line, &["per_s", "p50_ms", "p99_ms", "call_p50_ms"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_counts_the_spans_of_the_runs_that_have_some() {
    let options = Sagas {
        pace: bench::Pace::InFlight(8),
        ..Sagas::default()
    };
    let report = bench::telemetry(&short(), options).await.unwrap();
    let line = line(&report);
    assert_eq!(line["bench"], "telemetry");
    assert!(report.is_good(), "{line:#}");
    assert_positive(&line, &["ratio", "spans_per_saga", "cpu_ratio"]);
    assert_eq!(line["pairs"].as_array().unwrap().len(), 3);
}
