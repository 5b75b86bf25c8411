use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use palinode_db::Area;
use palinode_lab::Backing;
use palinode_messaging::{StartAt, TOPICS, TopicTail};
use palinode_telemetry::SpanData;
use palinode_testkit::eventually;
use sqlx::Executor;

use crate::rig::{Rig, card, connect, mugs};

const LIMIT: Duration = Duration::from_secs(30);

/// Keeps what passes through an outbox.
const KEEP: &str = "
CREATE TABLE kept (traceparent text);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO kept VALUES (NEW.traceparent); RETURN NEW; END $$;
CREATE TRIGGER keep BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION keep();";

/// Those that an order has to do with: what the catalogue's tells of, the seed has put in.
fn outboxes() -> impl Iterator<Item = Area> {
    let all = Area::ALL.into_iter().filter(|area| area.has_outbox());
    all.filter(|area| *area != Area::Catalog)
}

/// The trace id of `00-<trace id>-<span id>-<flags>`.
fn trace_of(traceparent: &str) -> String {
    traceparent.split('-').nth(1).unwrap_or_default().to_owned()
}

/// The trace ids in every outbox.
async fn kept(backing: &Backing) -> Vec<String> {
    let mut all = Vec::new();
    for area in outboxes() {
        let rows: Vec<(Option<String>,)> = sqlx::query_as("SELECT traceparent FROM kept")
            .fetch_all(&mut connect(backing, area).await)
            .await
            .unwrap();
        all.extend(
            rows.into_iter()
                .map(|(text,)| trace_of(&text.unwrap_or_default())),
        );
    }
    all
}

/// One order, completed or taken back, is one trace: in every outbox row, in the headers of every
/// record on Kafka, and in every span that belongs to it.
async fn one_order_is_one_trace(country: &str, expect: &str) {
    let rig = Rig::start(async |backing| {
        for area in outboxes() {
            connect(backing, area).await.execute(KEEP).await.unwrap();
        }
    })
    .await;
    let topics = TOPICS.iter().map(|spec| spec.topic);
    let topics: Vec<_> = topics
        .filter(|topic| topic.suffix() != "catalog.events")
        .collect();
    let mut tail = TopicTail::start(&rig.backing.kafka, &topics, StartAt::Beginning)
        .await
        .unwrap();
    let body = mugs("alice", country, card());
    let placed = rig.gateway.order(&body, Some("one")).await;
    let placed = placed.unwrap().success().unwrap();
    let order = rig.decided(placed["orderId"].as_str().unwrap()).await;
    assert_eq!(order["status"], expect);

    rig.over(&order).await;
    // the last records are written with the end of the saga, and published after it
    eventually(LIMIT, "the outboxes are empty", async || {
        for area in outboxes() {
            let left: (i64,) = sqlx::query_as("SELECT count(*) FROM outbox")
                .fetch_one(&mut rig.connect(area).await)
                .await
                .unwrap();
            if left.0 > 0 {
                return None;
            }
        }
        Some(())
    })
    .await;
    let rows = kept(&rig.backing).await;
    // start, commands and replies of at least three steps, events
    assert!(rows.len() >= 10, "{} rows", rows.len());
    let traces: BTreeSet<String> = rows.iter().cloned().collect();
    assert_eq!(traces.len(), 1, "one trace in the outboxes: {traces:?}");
    let trace = traces.into_iter().next().unwrap();
    assert_eq!(trace.len(), 32);

    for _ in 0..rows.len() {
        let record = tokio::time::timeout(LIMIT, tail.recv())
            .await
            .unwrap()
            .unwrap();
        let header = record.headers.text("traceparent").unwrap();
        assert_eq!(trace_of(header), trace, "on {}", record.topic);
    }

    eventually(
        LIMIT,
        "each record on Kafka has its span of relaying",
        async || {
            let published = spans_of(&rig, &trace)
                .iter()
                .filter(|span| span.name.starts_with("outbox.relay "))
                .count();
            (published == rows.len()).then_some(())
        },
    )
    .await;
    let spans = spans_of(&rig, &trace);
    let names: BTreeSet<_> = spans.iter().map(|span| span.name.as_ref()).collect();
    for part in ["POST", "PlaceOrder", "create", "process"] {
        let found = names.iter().any(|name| name.contains(part));
        assert!(found, "no span of {part} among {names:?}");
    }
    // all hang together: the call is the one span whose parent was not exported
    eventually(LIMIT, "the call is the one root", async || {
        let spans = spans_of(&rig, &trace);
        let ids: HashSet<_> = spans.iter().map(|s| s.span_context.span_id()).collect();
        let roots: Vec<_> = spans
            .iter()
            .filter(|span| !ids.contains(&span.parent_span_id))
            .map(|span| &span.name)
            .collect();
        (roots == ["POST"]).then_some(())
    })
    .await;
}

fn spans_of(rig: &Rig, trace: &str) -> Vec<SpanData> {
    let mut spans = rig.spans.get_finished_spans().unwrap();
    spans.retain(|span| span.span_context.trace_id().to_string() == trace);
    spans
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_completes_is_one_trace() {
    one_order_is_one_trace("DE", "ORDER_STATUS_CONFIRMED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_taken_back_is_one_trace() {
    one_order_is_one_trace("AQ", "ORDER_STATUS_REJECTED").await;
}
