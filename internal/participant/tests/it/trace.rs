use palinode_telemetry::{InMemorySpanExporter, TraceContext, Tracer};

use crate::fixture::{Fixture, act};

#[tokio::test]
async fn a_command_continues_its_trace_and_its_reply_stands_below() {
    let exporter = InMemorySpanExporter::default();
    let mut fixture = Fixture::traced(Tracer::in_memory("order", &exporter)).await;
    let (saga, create) = (fixture.saga(), TraceContext::root());
    let said = fixture.deliver(&[act(saga, "a").traced(1, &create)]).await;

    let spans = exporter.get_finished_spans().unwrap();
    let named = |name: &str| {
        let found = spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no span {name}"))
    };
    let process = named("process palinode.order.commands");
    assert_eq!(
        process.parent_span_id.to_string(),
        create.span_id.to_string()
    );
    assert_eq!(process.links.len(), 1);
    let reply = named("create palinode.orchestrator.replies");
    let event = named("create palinode.order.events");
    for (span, record) in [reply, event].into_iter().zip(&said.traces) {
        assert_eq!(span.parent_span_id, process.span_context.span_id());
        assert_eq!(
            span.span_context.span_id().to_string(),
            record.span_id.to_string()
        );
        assert_eq!(record.trace_id, create.trace_id);
        assert_eq!(span.start_time, span.end_time);
    }
    assert_eq!(spans.len(), 3);
}
