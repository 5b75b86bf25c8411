use palinode_messaging::Record;
use palinode_relay::Options;
use palinode_telemetry::{InMemorySpanExporter, TraceContext, Tracer};

use crate::stack::{RunningRelay, Stack, record, write};

#[tokio::test]
async fn a_record_has_the_stored_headers_those_of_its_columns_and_its_trace_byte_for_byte() {
    let mut stack = Stack::start(1).await;
    let exporter = InMemorySpanExporter::default();
    let tracer = Tracer::in_memory("relay", &exporter);
    let relay = RunningRelay::traced(
        Options::default(),
        vec![stack.source()],
        stack.producer(),
        tracer,
    );
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let context = TraceContext::from_fields(
        Some(traceparent),
        Some("vendor=a, other=b"),
        Some("user=alice%20b;prop=1"),
    )
    .unwrap();
    let sent = Record {
        trace: context.clone(),
        ..record("0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42", b"body")
    };
    write(&stack.db, std::slice::from_ref(&sent)).await;
    let received = stack.see(1).await[0].clone();
    assert_eq!(received.key, sent.key);
    assert_eq!(received.body, sent.body);
    assert_eq!(received.event_id(), Ok(sent.event_id));
    assert_eq!(received.trace(), Some(context.clone()));
    assert_eq!(received.headers.text("traceparent"), Some(traceparent));
    assert_eq!(
        received.headers.text("tracestate"),
        Some("vendor=a, other=b")
    );
    assert_eq!(
        received.headers.text("baggage"),
        Some("user=alice%20b;prop=1")
    );
    assert_eq!(received.headers.get("id"), received.headers.get("ce_id"));
    assert_eq!(received.headers.get("ce_subject"), Some(&*received.key));
    let fixed = sent.fixed_headers("test");
    assert_eq!(&received.headers.encode()[..fixed.size()], fixed.encode());
    let time = received.headers.text("ce_time").unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");

    stack.drained().await;
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].name, format!("outbox.relay {}", received.topic));
    let ids = (spans[0].span_context.trace_id(), spans[0].parent_span_id);
    let ids = format!("00-{}-{}-01", ids.0, ids.1);
    assert_eq!(ids, traceparent);
    relay.stop().await;
    stack.end().await;
}
