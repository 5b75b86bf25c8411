use std::sync::Arc;

use palinode_messaging::{Record, SagaHeaders, creation_span, saga_attributes};
use palinode_telemetry::{Finished, Kind, Link, TraceContext, Tracer, names};
use palinode_values::Timestamp;

/// A command that was processed.
#[derive(Debug)]
pub(crate) struct Processed {
    /// Topic it was read from, with its prefix.
    pub(crate) topic: Arc<str>,
    pub(crate) message: String,
    pub(crate) saga: SagaHeaders,
    /// The span's own context.
    pub(crate) context: TraceContext,
    /// Context of the command's creation.
    pub(crate) created: Option<TraceContext>,
    /// What the guard did.
    pub(crate) result: &'static str,
    /// How many of the batch's records were created under this span.
    pub(crate) records: usize,
}

/// Writes the spans of a batch: one for each command, and below it one for each record created.
///
/// Shape: `records` in the order of `processed`, as many for each as it says.
pub(crate) fn emit(
    tracer: &Tracer,
    processed: Vec<Processed>,
    records: Vec<Record>,
    (taken_up, committed): (Timestamp, Timestamp),
) {
    let count = processed.len().to_string();
    let mut records = records.into_iter();
    for command in processed {
        let parent = command.context.span_id;
        let prefix = command
            .topic
            .rsplitn(3, '.')
            .nth(2)
            .unwrap_or_default()
            .to_owned();
        for record in records.by_ref().take(command.records) {
            tracer.emit(creation_span(&record, &prefix, parent, committed));
        }
        tracer.emit(process(command, &count, (taken_up, committed)));
    }
}

fn process(command: Processed, count: &str, (start, end): (Timestamp, Timestamp)) -> Finished {
    let mut attributes = saga_attributes(&command.saga);
    attributes.extend([
        (names::GUARD_RESULT, command.result.to_owned()),
        (names::MESSAGING_SYSTEM, "kafka".to_owned()),
        (names::MESSAGING_OPERATION, "process".to_owned()),
        (names::MESSAGING_DESTINATION, command.topic.to_string()),
        (names::MESSAGING_MESSAGE_ID, command.message),
        (
            names::MESSAGING_CONVERSATION_ID,
            command.saga.saga_id.to_string(),
        ),
        (names::MESSAGING_BATCH_COUNT, count.to_owned()),
    ]);
    Finished {
        name: format!("process {}", command.topic),
        kind: Kind::Consumer,
        context: command.context,
        parent: command.created.as_ref().map(|context| context.span_id),
        start,
        end,
        attributes,
        links: command
            .created
            .map(|to| Link {
                to,
                kind: "created_by",
            })
            .into_iter()
            .collect(),
        error: None,
    }
}
