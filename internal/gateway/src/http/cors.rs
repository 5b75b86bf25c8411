//! Pages of other origins that may use the API: those which the settings name, and no other.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember what it was allowed.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Fetch standard, CORS protocol. A token is sent by the page itself: cookies are not let through.
pub(crate) fn layer(origins: &[HeaderValue]) -> CorsLayer {
    let own = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            own("idempotency-key"),
            own("last-event-id"),
            own("prefer"),
            own("traceparent"),
            own("x-request-id"),
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            own("preference-applied"),
            own("ratelimit"),
            own("ratelimit-policy"),
            own("traceresponse"),
            own("x-request-id"),
        ])
        .max_age(MAX_AGE)
}
