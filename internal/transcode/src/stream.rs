//! Server streams: as server-sent events, or as lines of JSON.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderValue, header};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

use crate::answer::{Error, Writer};
use crate::problem::Problem;
use crate::transcoder::{Inner, problem_of};

pub(crate) const EVENTS: &str = "text/event-stream";
pub(crate) const LINES: &str = "application/x-ndjson";
/// Whoever takes JSON takes lines of it.
pub(crate) const OFFERS: [&str; 3] = [LINES, EVENTS, "application/json"];

/// What a stream needs beside its messages.
pub(crate) struct Told {
    pub(crate) inner: Arc<Inner>,
    /// Of its route.
    pub(crate) number: usize,
    pub(crate) path: String,
    pub(crate) trace_id: Option<String>,
    /// It ends then, whatever comes.
    pub(crate) until: Instant,
}

enum Item {
    Message {
        id: Option<String>,
        json: Vec<u8>,
    },
    /// The last.
    Failure(Box<Problem>),
}

/// The field of a message that says where to go on, if it has one.
pub(crate) fn resume_field(
    message: &MessageDescriptor,
    name: Option<&str>,
) -> Option<FieldDescriptor> {
    let field = message.get_field_by_name(name?)?;
    (field.kind() == Kind::String && !field.is_list()).then_some(field)
}

/// The messages of a stream as the body of a response.
pub(crate) fn response(format: &str, streaming: Streaming<Bytes>, told: Told) -> Response {
    let items = items(streaming, told);
    if format == EVENTS {
        let events = items.map(|item| Ok::<_, Infallible>(event(item)));
        return Sse::new(events)
            .keep_alive(KeepAlive::default())
            .into_response();
    }
    let lines = items.map(|item| Ok::<_, Infallible>(line(item)));
    let kind = HeaderValue::from_static(LINES);
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(lines)).into_response()
}

fn items(streaming: Streaming<Bytes>, told: Told) -> impl Stream<Item = Item> + Send {
    let told = Arc::new(told);
    stream::unfold(Some(streaming), move |open| {
        let told = Arc::clone(&told);
        async move {
            let mut open = open?;
            let status = match timeout_at(told.until, open.message()).await {
                Ok(Ok(None)) => return None,
                Ok(Ok(Some(message))) => match told.item(&message) {
                    Ok(item) => return Some((item, Some(open))),
                    Err(error) => {
                        tracing::error!(%error, "a message cannot be written as JSON");
                        Status::internal("")
                    }
                },
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("a stream does not last longer; ask again"),
            };
            Some((Item::Failure(Box::new(told.failure(&status))), None))
        }
    })
}

impl Told {
    fn item(&self, message: &Bytes) -> Result<Item, Error> {
        let (binding, _) = &self.inner.routes[self.number];
        let name = self.inner.options.resume_field.as_deref();
        let id = resume_field(&binding.output, name)
            .and_then(|field| Writer::text(message, field.number()))
            .filter(|id| is_id(id))
            .map(str::to_owned);
        let json = binding.writer.write(message)?;
        Ok(Item::Message { id, json })
    }

    fn failure(&self, status: &Status) -> Problem {
        let (binding, _) = &self.inner.routes[self.number];
        let mut problem = problem_of(&self.inner.options, &binding.route.method, status);
        problem.instance = Some(self.path.clone());
        problem.trace_id.clone_from(&self.trace_id);
        problem
    }
}

/// An id that fits into a line of an event.
fn is_id(id: &str) -> bool {
    !id.is_empty() && !id.contains(['\n', '\r', '\0'])
}

fn event(item: Item) -> Event {
    match item {
        Item::Message { id, json } => {
            let event = Event::default().data(String::from_utf8_lossy(&json));
            match id {
                Some(id) => event.id(id),
                None => event,
            }
        }
        Item::Failure(problem) => Event::default().event("error").data(problem.to_json()),
    }
}

fn line(item: Item) -> Vec<u8> {
    let mut line = match item {
        Item::Message { json, .. } => json,
        Item::Failure(problem) => json!({ "error": problem }).to_string().into_bytes(),
    };
    line.push(b'\n');
    line
}
