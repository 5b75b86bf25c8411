use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use palinode_values::Clock;
use tower::{Layer, Service};

use crate::{Finished, Kind, TraceContext, Tracer, names};

/// A tower layer for HTTP and gRPC servers: reads the caller's trace context (or begins a trace),
/// puts the context of the server span into the request's extensions and headers, and writes the
/// span when the answer is ready.
#[derive(Debug, Clone)]
pub struct ServerSpansLayer {
    tracer: Tracer,
    clock: Clock,
}

impl ServerSpansLayer {
    /// A layer that writes to `tracer`.
    #[must_use]
    pub fn new(tracer: Tracer, clock: Clock) -> Self {
        Self { tracer, clock }
    }
}

impl<S> Layer<S> for ServerSpansLayer {
    type Service = ServerSpans<S>;

    fn layer(&self, inner: S) -> ServerSpans<S> {
        ServerSpans {
            inner,
            tracer: self.tracer.clone(),
            clock: self.clock.clone(),
        }
    }
}

/// The service made by [`ServerSpansLayer`].
#[derive(Debug, Clone)]
pub struct ServerSpans<S> {
    inner: S,
    tracer: Tracer,
    clock: Clock,
}

impl<S, B, R> Service<Request<B>> for ServerSpans<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
        let caller = TraceContext::from_fields(
            header("traceparent"),
            header("tracestate"),
            None, // baggage from outside is dropped
        );
        let context = caller
            .as_ref()
            .map_or_else(TraceContext::root, TraceContext::child);
        let rpc = header("content-type").is_some_and(|kind| kind.starts_with("application/grpc"));
        if let Ok(value) = context.traceparent().parse() {
            // whatever forwards the request's headers continues this span
            request.headers_mut().insert("traceparent", value);
        }
        request.extensions_mut().insert(context.clone());
        let (tracer, clock) = (self.tracer.clone(), self.clock.clone());
        let start = clock.now();
        let method = request.method().to_string();
        let path = request.uri().path().to_owned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let result = answer.await;
            if tracer.is_enabled() {
                let status = result
                    .as_ref()
                    .ok()
                    .map(|r| (r.status(), grpc_status(r.headers())));
                tracer.emit(server_span(
                    rpc, method, path, status, context, caller, start, &clock,
                ));
            }
            result
        })
    }
}

/// The status in the headers of an answer without a body; one in the trailers is not seen here.
fn grpc_status(headers: &http::HeaderMap) -> String {
    headers
        .get("grpc-status")
        .and_then(|v| v.to_str().ok())
        .unwrap_or("0")
        .to_owned()
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one span, used once"
)]
fn server_span(
    rpc: bool,
    method: String,
    path: String,
    status: Option<(http::StatusCode, String)>,
    context: TraceContext,
    caller: Option<TraceContext>,
    start: palinode_values::Timestamp,
    clock: &Clock,
) -> Finished {
    let failed = status
        .as_ref()
        .is_none_or(|(http, _)| http.is_server_error());
    let (name, attributes) = if rpc {
        let full = path.trim_start_matches('/').to_owned();
        let code = status.map(|(_, grpc)| grpc).unwrap_or_default();
        (
            full.clone(),
            vec![(names::RPC_METHOD, full), (names::RPC_STATUS, code)],
        )
    } else {
        let code = status
            .map(|(http, _)| http.as_u16().to_string())
            .unwrap_or_default();
        let attributes = vec![
            (names::HTTP_METHOD, method.clone()),
            (names::URL_PATH, path),
            (names::HTTP_STATUS, code),
        ];
        (method, attributes)
    };
    Finished {
        name,
        kind: Kind::Server,
        context,
        parent: caller.map(|c| c.span_id),
        start,
        end: clock.now(),
        attributes,
        links: vec![],
        error: failed.then(|| "the server failed".to_owned()),
    }
}
