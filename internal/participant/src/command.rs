use bytes::Bytes;
use palinode_messaging::{HeaderError, Headers, Received, SagaHeaders};
use palinode_saga::guard;
use palinode_telemetry::TraceContext;

/// In the headers of a command that is kept: how it is pending.
const HOW: &str = "guard-pending";
const TRACE: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// A command whose answer is still owed: what the later reply is addressed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) saga: SagaHeaders,
    /// Context of the `process` span that took the command up.
    pub(crate) trace: TraceContext,
    pub(crate) how: guard::Pending,
}

impl Owed {
    /// The stored form of `command`.
    pub(crate) fn keep(command: &Received, trace: &TraceContext, how: guard::Pending) -> Bytes {
        let mut headers = Headers::with_capacity(command.headers.size());
        let of_saga = |(name, _): &(&str, &[u8])| name.starts_with("saga-");
        for (name, value) in command.headers.iter().filter(of_saga) {
            headers.push(name, value);
        }
        let fields = [
            Some(trace.traceparent()),
            trace.tracestate.as_deref().map(str::to_owned),
            trace.baggage.as_deref().map(str::to_owned),
        ];
        for (name, value) in TRACE.into_iter().zip(fields) {
            if let Some(value) = value {
                headers.push(name, value);
            }
        }
        headers.push(
            HOW,
            match how {
                guard::Pending::Queued => "queued",
                guard::Pending::Called => "called",
            },
        );
        headers.into_encoded().into()
    }

    /// Reads the stored form.
    pub(crate) fn read(stored: &Bytes) -> Result<Self, HeaderError> {
        let headers = Headers::decode(stored.as_ref())?;
        let [parent, state, baggage] = TRACE.map(|name| headers.text(name));
        let how = match headers.text(HOW) {
            Some("queued") => guard::Pending::Queued,
            Some(_) | None => guard::Pending::Called,
        };
        Ok(Self {
            saga: SagaHeaders::read(&headers)?,
            trace: TraceContext::from_fields(parent, state, baggage)
                .unwrap_or_else(TraceContext::root),
            how,
        })
    }
}
