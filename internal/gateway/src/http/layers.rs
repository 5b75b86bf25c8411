use std::any::Any;

use axum::Router;
use axum::body::Body;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Request, header};
use palinode_telemetry::{ServerSpansLayer, TraceContext, Tracer};
use palinode_values::{Clock, ErrorCode};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::Limiter;
use super::browser;
use super::errors::problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_LEN_MAX: usize = 128;
const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// RFC 6797: a year.
const STAY_SECURE: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Headers of every answer. Nothing here is a page with scripts; nothing may be kept or framed.
const FIXED: [(HeaderName, HeaderValue); 4] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
];

/// What stands between the world and the routes.
pub(crate) struct Edge {
    /// `None`: nobody is counted.
    pub(crate) limiter: Option<Limiter>,
    /// Whether it is reached by TLS: browsers are told to stay with it.
    pub(crate) is_secure: bool,
    /// Origins of pages that may use the API.
    pub(crate) origins: Vec<HeaderValue>,
}

/// Wraps the router: the span outermost, then the headers, other origins, cookies, the limit of each caller, and
/// the net for panics.
pub(crate) fn layers(router: Router, edge: Edge, tracer: Tracer, clock: Clock) -> Router {
    let mut wrapped = router.layer(CatchPanicLayer::custom(after_panic));
    if let Some(limiter) = edge.limiter {
        wrapped = wrapped.layer(from_fn(move |request, next| {
            limiter.clone().limit(request, next)
        }));
    }
    let is_secure = edge.is_secure;
    wrapped = wrapped.layer(from_fn(move |request, next| {
        browser::bearer_of_cookie(is_secure, request, next)
    }));
    if !edge.origins.is_empty() {
        wrapped = wrapped.layer(super::cors::layer(&edge.origins));
    }
    if edge.is_secure {
        let stay = (header::STRICT_TRANSPORT_SECURITY, STAY_SECURE);
        wrapped = wrapped.layer(SetResponseHeaderLayer::overriding(stay.0, stay.1));
    }
    let wrapped = wrapped.layer(from_fn(headers));
    // around the router as a whole, and not around each of its routes
    Router::new().fallback_service(
        tower::ServiceBuilder::new()
            .layer(ServerSpansLayer::new(tracer, clock))
            .service(wrapped),
    )
}

/// Gives each request an id (the caller's, or that of its trace) and each answer its headers.
async fn headers(mut request: Request<Body>, next: Next) -> Response {
    let context = request
        .extensions()
        .get::<TraceContext>()
        .cloned()
        .unwrap_or_else(TraceContext::root);
    let id = request_id(&request, &context);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in FIXED {
        headers.entry(name).or_insert(value);
    }
    headers.insert(REQUEST_ID, id);
    if let Ok(value) = HeaderValue::try_from(context.traceparent()) {
        headers.insert(TRACE_RESPONSE, value);
    }
    response
}

fn request_id(request: &Request<Body>, context: &TraceContext) -> HeaderValue {
    let is_id = |value: &&HeaderValue| {
        (1..=REQUEST_ID_LEN_MAX).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    request
        .headers()
        .get(REQUEST_ID)
        .filter(is_id)
        .cloned()
        .unwrap_or_else(|| {
            HeaderValue::try_from(context.trace_id.to_string()).expect("hex digits are header text")
        })
}

fn after_panic(panic: Box<dyn Any + Send>) -> Response {
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .unwrap_or("without a plain word");
    tracing::error!(panic = words, "a request's handler panicked");
    problem(ErrorCode::Internal, "an internal error occurred").into_response()
}
