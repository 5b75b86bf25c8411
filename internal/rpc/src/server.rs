use std::any::Any;
use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use palinode_pb::validate::Invalid;
use palinode_telemetry::{ServerSpansLayer, Tracer};
use palinode_values::{Clock, ErrorCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::Service;
use tower::util::{MapRequestLayer, MapResponseLayer};
use tower_http::catch_panic::CatchPanicLayer;

use crate::authorizer::AuthorizerLayer;
use crate::rate::RateLayer;
use crate::status::make;
use crate::{Authorizer, Buckets, Details, Violations};

/// The limits of a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one request; more memory for each request in flight.
    pub request_bytes_max: usize,
    /// Requests at once on one connection; more wait for their turn.
    pub requests_per_connection_max: usize,
    /// Requests and streams that are open at once on one connection: a stream is answered, and stays.
    pub streams_per_connection_max: u32,
    /// How long one request may take.
    pub request_limit: Duration,
    /// How long requests in flight may go on after the stop.
    pub drain_limit: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 1024 * 1024,
            requests_per_connection_max: 2_048,
            streams_per_connection_max: 20_000,
            request_limit: Duration::from_secs(30),
            drain_limit: Duration::from_secs(5),
        }
    }
}

/// A server that ended by a failure of its own.
#[derive(Debug, thiserror::Error)]
#[error("the gRPC server failed")]
pub struct ServeError(#[from] tonic::transport::Error);

/// The health of a server, as `grpc.health.v1` tells it of all of it (`""`) and of each service.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health(watch::Sender<bool>);

impl Health {
    /// Says that requests are welcome.
    pub fn set_ready(&self) {
        self.0.send_replace(true);
    }

    /// Says that requests should go elsewhere.
    pub fn set_not_ready(&self) {
        self.0.send_replace(false);
    }
}

/// Tells callers what [`Health`] is set to, for as long as it is polled.
struct Report {
    reporter: HealthReporter,
    services: Vec<&'static str>,
    ready: watch::Receiver<bool>,
}

impl Report {
    async fn tell(&mut self) {
        let status = if *self.ready.borrow_and_update() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in &self.services {
            self.reporter.set_service_status(service, status).await;
        }
    }

    async fn run(mut self) -> Infallible {
        loop {
            if self.ready.changed().await.is_err() {
                // nobody is left to change it
                return std::future::pending().await;
            }
            self.tell().await;
        }
    }
}

/// Who may call a server.
#[derive(Debug, Clone)]
pub enum Door {
    /// Whom the rule of a method lets in.
    Authorized(Authorizer),
    /// Everybody: there is nothing of ours behind it.
    Open,
}

/// A gRPC server with health, reflection and server spans. Not ready until its [`Health`] is set. A
/// request that breaks a rule of its proto is answered with all [`Violations`] before its handler.
#[derive(Debug)]
pub struct Server {
    routes: Routes,
    services: Vec<&'static str>,
    health: Health,
    spans: ServerSpansLayer,
    authorizer: AuthorizerLayer,
    rate: RateLayer,
    limits: Limits,
}

impl Server {
    /// A server of no service yet.
    #[must_use]
    pub fn new(tracer: Tracer, clock: Clock, door: Door) -> Self {
        Self {
            routes: Routes::default(),
            services: vec![""],
            health: Health(watch::Sender::new(false)),
            spans: ServerSpansLayer::new(tracer, clock),
            authorizer: AuthorizerLayer(match door {
                Door::Authorized(authorizer) => Some(authorizer),
                Door::Open => None,
            }),
            rate: RateLayer(None),
            limits: Limits::default(),
        }
    }

    /// Limits how many calls one caller may make: [`ErrorCode::Limited`], `RATE_LIMITED`.
    #[must_use]
    pub fn rate(mut self, buckets: Buckets) -> Self {
        self.rate = RateLayer(Some(buckets));
        self
    }

    /// Other limits than the default.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds a generated service, such as `OrderServiceServer::new(handlers)`.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes = self.routes.add_service(service);
        self.services.push(S::NAME);
        self
    }

    /// A handle to say when the server is ready; it is not, at first.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Serves on `listener` until `stop`; then lets requests in flight end, and waits for them for
    /// [`Limits::drain_limit`] at most: what still runs then ends with the runtime.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let reporter = HealthReporter::new();
        let health = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
        let ready = self.health.0.subscribe();
        let mut report = Report {
            reporter,
            services: self.services,
            ready,
        };
        report.tell().await; // before the first caller asks
        let routes = add_reflection(self.routes).add_service(health);
        let bytes_max = self.limits.request_bytes_max;
        let router = tonic::transport::Server::builder()
            .concurrency_limit_per_connection(self.limits.requests_per_connection_max)
            .max_concurrent_streams(self.limits.streams_per_connection_max)
            .timeout(self.limits.request_limit)
            .layer(self.spans)
            .layer(MapRequestLayer::new(move |request: Request<Body>| {
                request.map(|body| limited(body, bytes_max))
            }))
            // a panic would take the connection with it, and with that all other requests
            .layer(CatchPanicLayer::custom(after_panic))
            .layer(self.authorizer)
            .layer(self.rate)
            .layer(MapResponseLayer::new(told))
            .add_routes(routes);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let stopped = stop.clone();
        let serving =
            router.serve_with_incoming_shutdown(incoming, async move { stopped.cancelled().await });
        let drained = async {
            stop.cancelled().await;
            tokio::time::sleep(self.limits.drain_limit).await;
        };
        tokio::select! {
            served = serving => served?,
            never = report.run() => match never {},
            () = drained => tracing::warn!("some gRPC requests did not end in time"),
        }
        Ok(())
    }
}

fn add_reflection(routes: Routes) -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(palinode_pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let readable = "descriptors that a compiler wrote";
    routes
        .add_service(builder().build_v1().expect(readable))
        .add_service(builder().build_v1alpha().expect(readable))
}

fn limited(body: Body, bytes_max: usize) -> Body {
    Body::new(Limited::new(body, bytes_max).map_err(move |error| {
        error.downcast::<tonic::Status>().map_or_else(
            |_too_long| {
                let words = format!("a request may have {bytes_max} bytes");
                make(
                    ErrorCode::Limited,
                    "REQUEST_TOO_LARGE",
                    &words,
                    Details::default(),
                )
            },
            |status| *status,
        )
    }))
}

/// A request that breaks rules of its proto was refused by its codec: the answer tells all of them.
fn told(response: Response<Body>) -> Response<Body> {
    let status = response.extensions().get::<tonic::Status>();
    let invalid = status
        .and_then(Error::source)
        .and_then(|source| source.downcast_ref::<Invalid>());
    match invalid {
        Some(invalid) => tonic::Status::from(Violations::from(invalid.clone())).into_http(),
        None => response,
    }
}

fn after_panic(panic: Box<dyn Any + Send>) -> Response<Body> {
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word");
    tracing::error!(panic = words, "a request's handler panicked");
    let words = "an internal error occurred";
    make(ErrorCode::Internal, "INTERNAL", words, Details::default()).into_http()
}
