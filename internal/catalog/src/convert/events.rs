use palinode_messaging::{Record, Topic, events_of};
use palinode_pb::catalog::v1 as pb;
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, EventId, ProductId};
use prost::{Message, Name};

use super::product;
use crate::domain::Product;

pub(crate) fn product_created(
    of: &Product,
    initial_stock: i64,
    clock: &Clock,
    trace: &TraceContext,
) -> Record {
    let message = pb::ProductCreated {
        product: Some(product(of)),
        initial_stock,
    };
    event(of.id, &message, clock, trace)
}

pub(crate) fn product_updated(of: &Product, clock: &Clock, trace: &TraceContext) -> Record {
    let message = pb::ProductUpdated {
        product: Some(product(of)),
    };
    event(of.id, &message, clock, trace)
}

pub(crate) fn product_deleted(
    of: &Product,
    revision: i64,
    clock: &Clock,
    trace: &TraceContext,
) -> Record {
    let message = pb::ProductDeleted {
        product_id: of.id.to_string(),
        sku: of.sku.to_string(),
        revision,
    };
    event(of.id, &message, clock, trace)
}

fn event<M: Message + Name>(
    id: ProductId,
    message: &M,
    clock: &Clock,
    trace: &TraceContext,
) -> Record {
    Record {
        topic: events(),
        key: id.key(),
        event_id: EventId::new(clock),
        kind: M::full_name().into(),
        body: message.encode_to_vec().into(),
        trace: trace.child(),
        saga: None,
    }
}

fn events() -> Topic {
    events_of("catalog").expect("catalog has a topic of events")
}
