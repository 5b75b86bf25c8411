use std::borrow::Cow;

use bytes::Bytes;
use palinode_db::Tx;
use palinode_messaging::{Record, SagaHeaders, Topic};
use palinode_outbox::Held;
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, EventId};

use crate::{Event, reply};

/// A reply with its address, and the events that go with it.
#[derive(Debug)]
pub(crate) struct Addressed {
    /// Of the command that is answered.
    pub(crate) saga: SagaHeaders,
    /// Context of the span under which all of them are created.
    pub(crate) trace: TraceContext,
    /// `None`: nothing is said to the orchestrator, only events are written.
    pub(crate) reply: Option<Bytes>,
    pub(crate) events: Vec<Event>,
}

/// The records of `addressed`, in order, each reply before its events. `create` makes the context
/// of a record from the one that it is created under.
pub(crate) fn records(
    addressed: Vec<Addressed>,
    clock: &Clock,
    create: fn(&TraceContext) -> TraceContext,
) -> Vec<Record> {
    let kind = reply::kind();
    let mut records = Vec::new();
    for Addressed {
        saga,
        trace,
        reply,
        events,
    } in addressed
    {
        if let Some(body) = reply {
            records.push(Record {
                topic: Topic::ORCHESTRATOR_REPLIES,
                key: saga.saga_id.key(),
                event_id: EventId::new(clock),
                kind: Cow::Owned(kind.clone()),
                body,
                trace: create(&trace),
                saga: Some(saga),
            });
        }
        records.extend(events.into_iter().map(|event| Record {
            topic: event.topic,
            key: event.key,
            event_id: EventId::new(clock),
            kind: event.kind,
            body: event.body,
            trace: create(&trace),
            saga: None,
        }));
    }
    records
}

/// Appends the records. The guard rows of the replies are locked by this transaction; that it holds
/// the rows of the events, the handler says by giving their keys.
pub(crate) async fn append(
    tx: &mut Tx,
    service: &str,
    records: &[Record],
) -> Result<(), palinode_outbox::Error> {
    let held = Held::by_lock(tx, records.iter().map(|record| record.key.clone()));
    palinode_outbox::append(tx, &held, records, service).await
}
