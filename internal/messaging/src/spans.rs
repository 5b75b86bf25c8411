use palinode_telemetry::{Finished, Kind, SpanId, names};
use palinode_values::Timestamp;

use crate::envelope::{Record, SagaHeaders};

/// The span under which a record was created: the one whose context stands in its outbox row and
/// in its headers. Emit it once the row is committed.
///
/// Shape: `prefix` is that of the stack's topics. A moment, without a length of its own.
#[must_use]
pub fn creation_span(record: &Record, prefix: &str, parent: SpanId, at: Timestamp) -> Finished {
    let topic = record.topic.name(prefix);
    let mut attributes = record
        .saga
        .as_ref()
        .map(saga_attributes)
        .unwrap_or_default();
    attributes.extend([
        (names::MESSAGING_SYSTEM, "kafka".to_owned()),
        (names::MESSAGING_OPERATION, "create".to_owned()),
        (names::MESSAGING_DESTINATION, topic.clone()),
        (names::MESSAGING_MESSAGE_ID, record.event_id.to_string()),
    ]);
    Finished {
        name: format!("create {topic}"),
        kind: Kind::Producer,
        context: record.trace.clone(),
        parent: Some(parent),
        start: at,
        end: at,
        attributes,
        links: Vec::new(),
        error: None,
    }
}

/// What spans of a command or a reply say about its saga.
#[must_use]
pub fn saga_attributes(saga: &SagaHeaders) -> Vec<(&'static str, String)> {
    vec![
        (names::SAGA_ID, saga.saga_id.to_string()),
        (names::SAGA_PLAN, saga.plan.clone()),
        (names::SAGA_STEP, saga.step.clone()),
        (names::SAGA_DIRECTION, saga.direction.to_string()),
    ]
}
