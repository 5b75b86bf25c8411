use bytes::Bytes;
use palinode_pb::saga::v1::StepReply;
use palinode_pb::saga::v1::step_reply::refused::Cause;
use palinode_pb::saga::v1::step_reply::{
    Answer, CannotUndo, Done, Failed, NotDone, Pending, Refused, Transient, Undone, UndoneEmpty,
};
use palinode_values::Timestamp;
use prost::{Message, Name};
use prost_types::Any;

use crate::Output;

/// Kind of every reply.
pub(crate) fn kind() -> String {
    StepReply::full_name()
}

/// A reply as it is stored and sent: protobuf `palinode.saga.v1.StepReply`.
fn encode(answer: Answer) -> Bytes {
    StepReply {
        answer: Some(answer),
    }
    .encode_to_vec()
    .into()
}

pub(crate) fn done(output: Option<&Output>) -> Bytes {
    let output = output.map(|output| Any {
        type_url: format!("type.googleapis.com/{}", output.kind),
        value: output.body.to_vec(),
    });
    encode(Answer::Done(Done { output }))
}

pub(crate) fn failed(reason: String, detail: String) -> Bytes {
    encode(Answer::Failed(Failed { reason, detail }))
}

pub(crate) fn pending(until: Timestamp) -> Bytes {
    let until = prost_types::Timestamp {
        seconds: until.timestamp(),
        nanos: i32::try_from(until.timestamp_subsec_nanos()).unwrap_or_default(),
    };
    encode(Answer::Pending(Pending { until: Some(until) }))
}

pub(crate) fn transient(detail: String) -> Bytes {
    encode(Answer::Transient(Transient { detail }))
}

pub(crate) fn refused(cause: Cause) -> Bytes {
    encode(Answer::Refused(Refused {
        cause: cause.into(),
    }))
}

pub(crate) fn undone() -> Bytes {
    encode(Answer::Undone(Undone {}))
}

pub(crate) fn undone_empty() -> Bytes {
    encode(Answer::UndoneEmpty(UndoneEmpty {}))
}

pub(crate) fn cannot_undo(reason: String, detail: String) -> Bytes {
    encode(Answer::CannotUndo(CannotUndo { reason, detail }))
}

pub(crate) fn not_done() -> Bytes {
    encode(Answer::NotDone(NotDone {}))
}
