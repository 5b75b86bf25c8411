//! Putting a [`Transcoder`] together.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use prost_reflect::DescriptorPool;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

use crate::binding::Binding;
use crate::status::StatusRule;
use crate::template::TemplateError;
use crate::transcoder::{Inner, Transcoder};
use crate::trie::Trie;

/// A gRPC service, whatever is behind it.
pub(crate) type Backend = BoxCloneSyncService<
    http::Request<tonic::body::Body>,
    http::Response<tonic::body::Body>,
    tonic::Status,
>;

pub(crate) type StatusTable = Arc<dyn Fn(Code) -> StatusRule + Send + Sync>;
pub(crate) type Deadline = Arc<dyn Fn(&HeaderMap) -> Duration + Send + Sync>;
pub(crate) type Interceptor = Arc<dyn Fn(&mut MetadataMap, &Parts) + Send + Sync>;

/// What does not depend on the route.
pub(crate) struct Options {
    pub(crate) deadline: Deadline,
    pub(crate) stream_limit: Duration,
    pub(crate) resume_field: Option<String>,
    pub(crate) body_limit: usize,
    pub(crate) forward_headers: Vec<HeaderName>,
    pub(crate) return_headers: Vec<HeaderName>,
    pub(crate) status_header: Option<HeaderName>,
    pub(crate) status_table: StatusTable,
    pub(crate) interceptor: Interceptor,
}

/// Collects services and options; made by [`Transcoder::builder`].
#[must_use]
pub struct Builder {
    pool: DescriptorPool,
    services: Vec<(String, Backend)>,
    options: Options,
}

/// Why a [`Transcoder`] cannot be built: the annotations or the options are wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the messages say it; the fields are what they name"
)]
pub enum BuildError {
    #[error("service {service} is not in the descriptor pool")]
    UnknownService { service: String },
    #[error("service {service} is given twice")]
    DuplicateService { service: String },
    #[error("no method of service {service} has a google.api.http rule")]
    NoRoutes { service: String },
    #[error("method {method}: its options cannot be read")]
    Annotation {
        method: String,
        source: prost::DecodeError,
    },
    #[error("method {method}: HTTP has no streams of requests")]
    Streaming { method: String },
    #[error("method {method}: a rule has no pattern")]
    NoPattern { method: String },
    #[error("method {method}: an additional binding has additional bindings")]
    NestedBindings { method: String },
    #[error("method {method}: {verb:?} is not an HTTP method")]
    Verb { method: String, verb: String },
    #[error("method {method}: template {template:?}")]
    Template {
        method: String,
        template: String,
        source: TemplateError,
    },
    #[error("method {method}: there is no field {field}")]
    UnknownField { method: String, field: String },
    #[error("method {method}: field {field} is in the path but not scalar")]
    NotScalar { method: String, field: String },
    #[error("method {method}: GET and HEAD have no body")]
    BodyNotAllowed { method: String },
    #[error(
        "{verb} {template} of {method} is the same route as {other_template} of {other_method}"
    )]
    Ambiguous {
        verb: http::Method,
        template: String,
        method: String,
        other_template: String,
        other_method: String,
    },
    #[error("header {name} cannot be passed on: it belongs to gRPC or is binary")]
    Header { name: HeaderName },
}

/// Request headers forwarded as metadata unless [`Builder::forward_headers`] says otherwise.
const FORWARD_HEADERS: [&str; 6] = [
    "authorization",
    "idempotency-key",
    "prefer",
    "traceparent",
    "tracestate",
    "x-request-id",
];

/// Response metadata copied back unless [`Builder::return_headers`] says otherwise.
const RETURN_HEADERS: [&str; 5] = [
    "etag",
    "location",
    "preference-applied",
    "retry-after",
    "www-authenticate",
];

impl Builder {
    pub(crate) fn new(pool: DescriptorPool) -> Self {
        let options = Options {
            deadline: Arc::new(|_| Duration::from_secs(30)),
            stream_limit: Duration::from_secs(600),
            resume_field: None,
            body_limit: 256 * 1024,
            forward_headers: FORWARD_HEADERS.map(HeaderName::from_static).into(),
            return_headers: RETURN_HEADERS.map(HeaderName::from_static).into(),
            status_header: None,
            status_table: Arc::new(StatusRule::google),
            interceptor: Arc::new(|_, _| {}),
        };
        Self {
            pool,
            services: Vec::new(),
            options,
        }
    }

    /// Serves the annotated methods of a service (`shop.v1.OrderService`) by calling `backend`: a
    /// `tonic::transport::Channel`, or any tower service of that shape, layers included.
    pub fn service<S, B>(mut self, full_name: &str, backend: S) -> Self
    where
        S: Service<http::Request<tonic::body::Body>, Response = http::Response<B>>,
        S: Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let backend = backend
            .map_response(|response: http::Response<B>| response.map(tonic::body::Body::new))
            .map_err(|error| tonic::Status::from_error(error.into()));
        self.services
            .push((full_name.to_owned(), Backend::new(backend)));
        self
    }

    /// How long a request may take, reading its body included; default 30 s. The service gets what
    /// is left of it as `grpc-timeout`. Of a stream: until its first answer.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.deadline_of(move |_| deadline)
    }

    /// The same by the headers of the request: who prefers to wait (RFC 7240) has longer.
    pub fn deadline_of(
        mut self,
        deadline: impl Fn(&HeaderMap) -> Duration + Send + Sync + 'static,
    ) -> Self {
        self.options.deadline = Arc::new(deadline);
        self
    }

    /// How long a stream lasts at the most; default ten minutes. It ends with an error that says so.
    pub fn stream_limit(mut self, limit: Duration) -> Self {
        self.options.stream_limit = limit;
        self
    }

    /// The string field by which streams are resumed, where messages have it: in a streamed message
    /// it becomes the event's `id`, and the `Last-Event-ID` with which a browser asks again becomes
    /// that of the request. Default none.
    pub fn resume_field(mut self, name: impl Into<String>) -> Self {
        self.options.resume_field = Some(name.into());
        self
    }

    /// Bytes a body may have; default 256 KiB. Each request in flight may hold that much memory.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.options.body_limit = bytes;
        self
    }

    /// The request headers that become metadata, instead of the default: `authorization`,
    /// `idempotency-key`, `prefer`, `traceparent`, `tracestate`, `x-request-id`.
    pub fn forward_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.options.forward_headers = names.into_iter().collect();
        self
    }

    /// The metadata that becomes response headers, of errors too, instead of the default: `etag`,
    /// `location`, `preference-applied`, `retry-after`, `www-authenticate`.
    pub fn return_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.options.return_headers = names.into_iter().collect();
        self
    }

    /// The response metadata by which a service sets the status of a success (200..=299); default
    /// none, so that every success is 200. Usual: `x-http-code`.
    pub fn status_from_metadata(mut self, name: HeaderName) -> Self {
        self.options.status_header = Some(name);
        self
    }

    /// How gRPC codes look over HTTP; default [`StatusRule::google`].
    pub fn status_table(
        mut self,
        table: impl Fn(Code) -> StatusRule + Send + Sync + 'static,
    ) -> Self {
        self.options.status_table = Arc::new(table);
        self
    }

    /// Called once a request, with the forwarded metadata and the HTTP request's head (its
    /// extensions hold what layers left there); may add and change metadata.
    pub fn interceptor(
        mut self,
        interceptor: impl Fn(&mut MetadataMap, &Parts) + Send + Sync + 'static,
    ) -> Self {
        self.options.interceptor = Arc::new(interceptor);
        self
    }

    /// Checks every rule and makes the routing table.
    ///
    /// # Errors
    /// The first rule or option that is wrong; each is a mistake in the protos or in the caller.
    pub fn build(self) -> Result<Transcoder, BuildError> {
        let options = self.options;
        let names = options
            .forward_headers
            .iter()
            .chain(&options.return_headers);
        for name in names.chain(&options.status_header) {
            if is_reserved(name.as_str()) {
                return Err(BuildError::Header { name: name.clone() });
            }
        }
        let mut routes: Vec<(Binding, Backend)> = Vec::new();
        let mut trie = Trie::default();
        let mut seen = HashSet::new();
        for (service, backend) in self.services {
            if !seen.insert(service.clone()) {
                return Err(BuildError::DuplicateService { service });
            }
            let Some(descriptor) = self.pool.get_service_by_name(&service) else {
                return Err(BuildError::UnknownService { service });
            };
            let before = routes.len();
            for method in descriptor.methods() {
                for binding in Binding::all_of(&method)? {
                    add_route(&mut trie, &routes, &binding)?;
                    routes.push((binding, backend.clone()));
                }
            }
            if routes.len() == before {
                return Err(BuildError::NoRoutes { service });
            }
        }
        Ok(Transcoder::new(Inner {
            trie,
            routes,
            options,
        }))
    }
}

fn add_route(
    trie: &mut Trie,
    routes: &[(Binding, Backend)],
    binding: &Binding,
) -> Result<(), BuildError> {
    let route = &binding.route;
    let inserted = trie.insert(&binding.template, &route.verb, routes.len());
    inserted.map_err(|number| {
        let other = &routes[number].0.route;
        BuildError::Ambiguous {
            verb: route.verb.clone(),
            template: route.template.clone(),
            method: route.method.clone(),
            other_template: other.template.clone(),
            other_method: other.method.clone(),
        }
    })
}

/// Whether gRPC or HTTP uses the name itself, or the value would not be text.
fn is_reserved(name: &str) -> bool {
    let own = [
        "te",
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "host",
    ];
    name.starts_with("grpc-") || name.ends_with("-bin") || own.contains(&name)
}
