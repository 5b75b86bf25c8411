//! Serving a request.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use tokio::time::{Instant, timeout_at};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status, Streaming};

use crate::accept;
use crate::answer;
use crate::binding::{Answer, Binding, BodyRule, Route};
use crate::builder::{Backend, Builder, Options};
use crate::codec::DynamicCodec;
use crate::problem::Problem;
use crate::raw;
use crate::request::{self, Malformed};
use crate::stream::{self, Told};
use crate::trie::{Lookup, Segments, Trie};

/// Timers on two sides of a connection may differ by this much.
const TIMER_GRAIN: Duration = Duration::from_millis(5);

/// The reason of a request that is not understood.
const MALFORMED: &str = "INVALID_REQUEST";

/// REST over gRPC services. Cheap to clone; no state but what [`Builder`] was given.
#[derive(Clone)]
pub struct Transcoder {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) trie: Trie,
    pub(crate) routes: Vec<(Binding, Backend)>,
    pub(crate) options: Options,
}

/// Which route answered: an extension of the response, for metrics and access logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedRoute(pub Route);

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcoder")
            .field("routes", &self.routes())
            .finish()
    }
}

impl Transcoder {
    /// Starts from the descriptors that hold the services; they need imports, not source info.
    pub fn builder(pool: DescriptorPool) -> Builder {
        Builder::new(pool)
    }

    pub(crate) fn new(inner: Inner) -> Self {
        let inner = Arc::new(inner);
        Self { inner }
    }

    /// Every route, in the order of services and methods, additional bindings after their own.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        self.inner
            .routes
            .iter()
            .map(|(binding, _)| binding.route.clone())
            .collect()
    }

    /// A router whose fallback answers everything. To add other routes, make it their fallback:
    /// `Router::new().route(…).fallback_service(transcoder.router())`.
    pub fn router(&self) -> Router {
        let transcoder = self.clone();
        Router::new().fallback(move |request: Request<Body>| {
            let transcoder = transcoder.clone();
            async move { transcoder.serve(request).await }
        })
    }

    /// What of a request goes to a service, as metadata: for a gateway that calls the services in other
    /// ways too.
    #[must_use]
    pub fn metadata(&self, parts: &Parts) -> MetadataMap {
        let options = &self.inner.options;
        let mut metadata =
            MetadataMap::from_headers(only(&parts.headers, &options.forward_headers));
        (options.interceptor)(&mut metadata, parts);
        metadata
    }

    /// Waits for the answer of such a call until the deadline. `method` is for logs.
    ///
    /// # Errors
    /// What a client of a route would be told: the service's refusal, or that it cannot be reached or is late.
    pub async fn ask<T>(
        &self,
        method: &str,
        deadline: Instant,
        answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<tonic::Response<T>, Problem> {
        let answered = in_time(deadline, answer).await;
        answered.map_err(|status| failure(&self.inner.options, method, deadline, &status))
    }

    /// Reads a body of JSON for such a gateway, as a route does.
    ///
    /// # Errors
    /// It is of another type, too large, late, or torn off.
    pub async fn read_json(
        &self,
        headers: &HeaderMap,
        body: Body,
        deadline: Instant,
    ) -> Result<bytes::Bytes, Problem> {
        if !request::is_json(headers) {
            return Err(unsupported_media_type());
        }
        read_body(&self.inner.options, headers, body, deadline).await
    }

    async fn serve(&self, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        let options = &self.inner.options;
        let metadata = self.metadata(&parts);
        let trace_id = trace_id(&metadata);

        let found = self.inner.trie.find(&parts.method, parts.uri.path());
        let (outcome, route) = match found {
            Ok(Lookup::Found(number, segments)) => {
                let (binding, backend) = &self.inner.routes[number];
                let call = Call {
                    inner: &self.inner,
                    number,
                    binding,
                    backend,
                    options,
                    deadline: Instant::now() + (options.deadline)(&parts.headers),
                    trace_id: trace_id.as_deref(),
                };
                let outcome = call.run(&parts, &segments, body, metadata).await;
                (outcome, Some(MatchedRoute(binding.route.clone())))
            }
            Ok(Lookup::OtherMethods(allowed)) if parts.method == Method::OPTIONS => {
                let allow = [(header::ALLOW, names_of(&allowed))];
                (Ok((StatusCode::NO_CONTENT, allow).into_response()), None)
            }
            Ok(Lookup::OtherMethods(allowed)) => (Err(method_not_allowed(&allowed)), None),
            Ok(Lookup::Nothing) => {
                let rule = (options.status_table)(Code::NotFound);
                (
                    Err(Problem::new(
                        rule.http,
                        rule.code,
                        "there is nothing at this path",
                    )),
                    None,
                )
            }
            Err(_) => {
                let rule = (options.status_table)(Code::InvalidArgument);
                let detail = "the path is not properly encoded";
                (Err(Problem::new(rule.http, rule.code, detail)), None)
            }
        };
        let mut response = outcome.unwrap_or_else(|mut problem| {
            problem.instance = Some(parts.uri.path().to_owned());
            problem.trace_id = trace_id;
            problem.into_response()
        });
        response
            .extensions_mut()
            .extend(route.map(extension).unwrap_or_default());
        response
    }
}

/// One request on its way through.
struct Call<'c> {
    inner: &'c Arc<Inner>,
    number: usize,
    binding: &'c Binding,
    backend: &'c Backend,
    options: &'c Options,
    deadline: Instant,
    trace_id: Option<&'c str>,
}

impl Call<'_> {
    async fn run(
        &self,
        parts: &Parts,
        segments: &Segments<'_>,
        body: Body,
        metadata: MetadataMap,
    ) -> Result<Response, Problem> {
        let offers = self.offers();
        let format = accept::choose(&parts.headers, offers).unwrap_or_default();
        if format.is_empty() && !offers.is_empty() {
            let detail = format!("the answer can be {}", offers.join(", "));
            let status = StatusCode::NOT_ACCEPTABLE;
            return Err(Problem::new(status, "NOT_ACCEPTABLE", detail));
        }
        let body = self.read_body(&parts.headers, body).await?;
        let query = parts.uri.query().unwrap_or_default();
        let message = request::message(self.binding, segments, query, &parts.headers, body)
            .map_err(|malformed| self.malformed(malformed))?;
        if self.binding.answer == Answer::Stream {
            let message = self.resumed(message, &parts.headers);
            let streaming = self.ask_for_stream(message, metadata).await;
            let streaming = streaming.map_err(|status| self.failure(&status))?;
            let (metadata, streaming, _) = streaming.into_parts();
            let told = Told {
                inner: Arc::clone(self.inner),
                number: self.number,
                path: parts.uri.path().to_owned(),
                trace_id: self.trace_id.map(str::to_owned),
                until: Instant::now() + self.options.stream_limit,
            };
            let mut response = stream::response(format, streaming, told);
            let headers = only(&metadata.into_headers(), &self.options.return_headers);
            response.headers_mut().extend(headers);
            return Ok(response);
        }
        match self.ask(message, metadata).await {
            Ok(response) => self.success(response).map_err(|error| {
                let method = &self.binding.route.method;
                tracing::error!(method, %error, "a response cannot be written as JSON");
                self.problem_of(&Status::internal(""))
            }),
            Err(status) => Err(self.failure(&status)),
        }
    }

    /// What the answer may be written as; none: the service says what it is.
    fn offers(&self) -> &'static [&'static str] {
        match self.binding.answer {
            Answer::Stream => &stream::OFFERS,
            Answer::Json => &["application/json"],
            Answer::Raw => &[],
        }
    }

    /// The message of who asks to go on where a stream was torn off.
    fn resumed(&self, mut message: DynamicMessage, headers: &HeaderMap) -> DynamicMessage {
        let name = self.options.resume_field.as_deref();
        let last = headers
            .get("last-event-id")
            .and_then(|value| value.to_str().ok());
        if let (Some(field), Some(last)) = (stream::resume_field(&self.binding.input, name), last)
            && !message.has_field(&field)
        {
            message.set_field(&field, Value::String(last.to_owned()));
        }
        message
    }

    async fn read_body(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
        let takes_raw = self.binding.raw_body().is_some();
        let wrong_type =
            !takes_raw && headers.contains_key(header::CONTENT_TYPE) && !request::is_json(headers);
        if wrong_type && self.binding.body != BodyRule::None {
            return Err(unsupported_media_type());
        }
        let bytes = read_body(self.options, headers, body, self.deadline).await?;
        let needs_type = !takes_raw && !bytes.is_empty() && self.binding.body != BodyRule::None;
        if needs_type && !request::is_json(headers) {
            return Err(unsupported_media_type());
        }
        Ok(bytes)
    }

    fn malformed(&self, malformed: Malformed) -> Problem {
        self::malformed(self.options, malformed)
    }

    async fn ask(
        &self,
        message: DynamicMessage,
        metadata: MetadataMap,
    ) -> Result<tonic::Response<Bytes>, Status> {
        let limit = self.deadline.saturating_duration_since(Instant::now());
        let (mut client, request, codec) = self.call(message, metadata, limit);
        let path = self.binding.grpc_path.clone();
        in_time(self.deadline, async move {
            client.ready().await?;
            client.unary(request, path, codec).await
        })
        .await
    }

    async fn ask_for_stream(
        &self,
        message: DynamicMessage,
        metadata: MetadataMap,
    ) -> Result<tonic::Response<Streaming<Bytes>>, Status> {
        let limit = self.options.stream_limit;
        let (mut client, request, codec) = self.call(message, metadata, limit);
        let path = self.binding.grpc_path.clone();
        in_time(self.deadline, async move {
            client.ready().await?;
            client.server_streaming(request, path, codec).await
        })
        .await
    }

    /// What a gRPC call is made with; `limit` is what the service is given.
    fn call(
        &self,
        message: DynamicMessage,
        metadata: MetadataMap,
        limit: Duration,
    ) -> (
        tonic::client::Grpc<Backend>,
        tonic::Request<DynamicMessage>,
        DynamicCodec,
    ) {
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = metadata;
        request.set_timeout(limit);
        let client = tonic::client::Grpc::new(self.backend.clone());
        (client, request, DynamicCodec)
    }

    fn success(&self, response: tonic::Response<Bytes>) -> Result<Response, answer::Error> {
        let (metadata, bytes, _) = response.into_parts();
        let (kind, body) = if self.binding.answer == Answer::Raw {
            raw::parts(&DynamicMessage::decode(self.binding.output.clone(), bytes)?)
        } else {
            let json = self.binding.writer.write(&bytes)?;
            (HeaderValue::from_static("application/json"), json.into())
        };
        let metadata = metadata.into_headers();
        let status = self.success_status(&metadata);
        let mut response = match status {
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => status.into_response(),
            _ => (status, [(header::CONTENT_TYPE, kind)], body).into_response(),
        };
        response
            .headers_mut()
            .extend(only(&metadata, &self.options.return_headers));
        Ok(response)
    }

    fn success_status(&self, metadata: &HeaderMap) -> StatusCode {
        let header = self
            .options
            .status_header
            .as_ref()
            .and_then(|name| metadata.get(name));
        let Some(header) = header else {
            return StatusCode::OK;
        };
        match StatusCode::from_bytes(header.as_bytes()) {
            Ok(status) if status.is_success() => status,
            _ => {
                let method = &self.binding.route.method;
                tracing::warn!(
                    method,
                    ?header,
                    "the service asked for a status that is no success"
                );
                StatusCode::OK
            }
        }
    }

    fn failure(&self, status: &Status) -> Problem {
        let method = &self.binding.route.method;
        failure(self.options, method, self.deadline, status)
    }

    fn problem_of(&self, status: &Status) -> Problem {
        problem_of(self.options, &self.binding.route.method, status)
    }
}

fn malformed(options: &Options, malformed: Malformed) -> Problem {
    let rule = (options.status_table)(Code::InvalidArgument);
    let problem = match malformed {
        Malformed::Whole(detail) => Problem::new(rule.http, rule.code, detail),
        Malformed::Fields(errors) => Problem::of_fields(rule, errors),
    };
    problem.with_reason(MALFORMED)
}

/// The body, within the limit of its size and in time.
async fn read_body(
    options: &Options,
    headers: &HeaderMap,
    body: Body,
    deadline: Instant,
) -> Result<bytes::Bytes, Problem> {
    let limit = options.body_limit;
    let too_large = || {
        let detail = format!("the body is larger than {limit} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", detail)
            .with_reason("REQUEST_TOO_LARGE")
    };
    // What is declared too large is not read at all.
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let declared = declared.and_then(|value| value.parse::<u64>().ok());
    if declared.is_some_and(|bytes| usize::try_from(bytes).map_or(true, |bytes| bytes > limit)) {
        return Err(too_large());
    }
    let read = timeout_at(deadline, Limited::new(body, limit).collect());
    let Ok(read) = read.await else {
        let detail = "the body did not arrive in time";
        return Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "REQUEST_TIMEOUT",
            detail,
        ));
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => {
            let detail = "the body could not be read".to_owned();
            Err(malformed(options, Malformed::Whole(detail)))
        }
    }
}

async fn in_time<T>(
    deadline: Instant,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match timeout_at(deadline, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(out_of_time()),
    }
}

fn failure(options: &Options, method: &str, deadline: Instant, status: &Status) -> Problem {
    // Whichever of channel and server sees the deadline first reports it as a cancellation.
    let late = Instant::now() + TIMER_GRAIN >= deadline;
    if late && (is_of_transport(status) || status.code() == Code::Cancelled) {
        return problem_of(options, method, &out_of_time());
    }
    problem_of(options, method, status)
}

/// A status with a source was made on this side, by the transport.
fn is_of_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// What a client is told of a service's failure.
pub(crate) fn problem_of(options: &Options, method: &str, status: &Status) -> Problem {
    let rule = |status: &Status| (options.status_table)(status.code());
    if is_of_transport(status) {
        tracing::warn!(method, error = ?status, "the service cannot be reached");
        let status = Status::unavailable("the service cannot be reached");
        return Problem::of_status(rule(&status), &status);
    }
    if matches!(
        status.code(),
        Code::Internal | Code::Unknown | Code::DataLoss
    ) {
        tracing::warn!(method, code = ?status.code(), message = status.message(), "the service failed");
    }
    let mut problem = Problem::of_status(rule(status), status);
    let mut headers = only(status.metadata().as_ref(), &options.return_headers);
    headers.extend(std::mem::take(&mut problem.headers));
    problem.headers = headers;
    problem
}

fn out_of_time() -> Status {
    Status::deadline_exceeded("the service did not answer in time; the outcome is unknown")
}

fn extension<T: Clone + Send + Sync + 'static>(value: T) -> http::Extensions {
    let mut extensions = http::Extensions::new();
    extensions.insert(value);
    extensions
}

fn method_not_allowed(allowed: &[Method]) -> Problem {
    let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    let detail = format!("this path takes {}", names.join(", "));
    let mut problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail);
    problem.headers.insert(header::ALLOW, names_of(allowed));
    problem
}

fn names_of(methods: &[Method]) -> HeaderValue {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", ")).expect("method names are header text")
}

fn unsupported_media_type() -> Problem {
    let detail = "the body must be application/json";
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
        detail,
    )
}

/// The headers of these names, repetitions kept.
fn only(headers: &HeaderMap, names: &[http::HeaderName]) -> HeaderMap {
    let mut chosen = HeaderMap::new();
    for name in names {
        for value in headers.get_all(name) {
            chosen.append(name, value.clone());
        }
    }
    chosen
}

/// The trace id in a `traceparent` (W3C Trace Context), when it is well-formed.
#[must_use]
pub fn trace_id(metadata: &MetadataMap) -> Option<String> {
    let traceparent = metadata.get("traceparent")?.to_str().ok()?;
    let id = traceparent.split('-').nth(1)?;
    let well_formed = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    well_formed.then(|| id.to_owned())
}
