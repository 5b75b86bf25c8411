use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use palinode_rpc::{Channel, Door, Failure, Health, Limits, Server, channel, traced};
use palinode_telemetry::{InMemorySpanExporter, TraceContext, Tracer};
use palinode_values::{Clock, ErrorCode};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tower::Service;

/// Above what a loaded machine needs for a call, and not much more: one test waits it out.
const CALL_LIMIT: Duration = Duration::from_secs(2);

/// Answers with `NOT_FOUND`, as late as the test wants.
#[derive(Clone, Default)]
struct Slow {
    taken_up: Arc<Notify>,
    answer: Arc<Notify>,
}

impl NamedService for Slow {
    const NAME: &'static str = "test.Slow";
}

impl Service<Request<Body>> for Slow {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let slow = self.clone();
        Box::pin(async move {
            slow.taken_up.notify_one();
            slow.answer.notified().await;
            Ok(
                tonic::Status::from(palinode_rpc::Violations::of("id", "UNKNOWN", "is unknown"))
                    .into_http(),
            )
        })
    }
}

struct Running {
    channel: Channel,
    health: Health,
    slow: Slow,
    spans: InMemorySpanExporter,
    stop: CancellationToken,
    served: JoinHandle<Result<(), palinode_rpc::ServeError>>,
}

#[expect(clippy::disallowed_methods, reason = "the server of a test")]
async fn start(limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (slow, spans) = (Slow::default(), InMemorySpanExporter::default());
    let server = Server::new(
        Tracer::in_memory("test", &spans),
        Clock::system(),
        Door::Open,
    )
    .limits(limits)
    .add_service(slow.clone());
    let (health, stop) = (server.health(), CancellationToken::new());
    Running {
        channel: channel(&address.parse().unwrap()),
        health,
        slow,
        spans,
        served: tokio::spawn(server.serve(listener, stop.clone())),
        stop,
    }
}

async fn status_of(channel: &Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel.clone()).check(request).await;
    answer
        .map(|answer| answer.into_inner().status())
        .map_err(|status| status.code())
}

#[expect(clippy::disallowed_methods, reason = "a caller beside the test")]
fn call_slow(running: &Running, context: &TraceContext) -> JoinHandle<tonic::Status> {
    let (channel, mut request) = (running.channel.clone(), traced((), context));
    request.set_timeout(CALL_LIMIT);
    tokio::spawn(async move {
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let codec = ProstCodec::<(), ()>::default();
        let path = http::uri::PathAndQuery::from_static("/test.Slow/Wait");
        client.unary(request, path, codec).await.unwrap_err()
    })
}

#[tokio::test]
async fn health_is_not_serving_until_it_is_set() {
    let running = start(Limits::default()).await;
    for service in ["", "test.Slow"] {
        assert_eq!(
            status_of(&running.channel, service).await,
            Ok(ServingStatus::NotServing)
        );
    }
    running.health.set_ready();
    for service in ["", "test.Slow"] {
        assert_eq!(
            status_of(&running.channel, service).await,
            Ok(ServingStatus::Serving)
        );
    }
    assert_eq!(
        status_of(&running.channel, "test.Fast").await,
        Err(Code::NotFound)
    );
}

#[tokio::test]
async fn a_request_in_flight_is_answered_after_the_stop() {
    let running = start(Limits::default()).await;
    let answer = call_slow(&running, &TraceContext::root());
    running.slow.taken_up.notified().await;
    running.stop.cancel();
    running.slow.answer.notify_one();
    assert_eq!(answer.await.unwrap().code(), Code::InvalidArgument);
    running.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_and_its_outcome_is_unknown() {
    let drain_limit = Duration::from_millis(20);
    let running = start(Limits {
        drain_limit,
        ..Limits::default()
    })
    .await;
    let answer = call_slow(&running, &TraceContext::root());
    running.slow.taken_up.notified().await;
    running.stop.cancel();
    running.served.await.unwrap().unwrap();
    drop(running.slow);
    let failure = Failure::from(answer.await.unwrap());
    assert_eq!(failure.code, ErrorCode::Deadline, "{failure:?}");
}

#[tokio::test]
async fn nobody_there_means_that_nothing_was_done() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let code = status_of(&channel(&address.parse().unwrap()), "")
        .await
        .unwrap_err();
    assert_eq!(code, Code::Unavailable);
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_refused() {
    let running = start(Limits {
        request_bytes_max: 1000,
        ..Limits::default()
    })
    .await;
    running.health.set_ready();
    assert_eq!(
        status_of(&running.channel, "").await,
        Ok(ServingStatus::Serving)
    );
    let long = "x".repeat(1001);
    assert_eq!(
        status_of(&running.channel, &long).await,
        Err(Code::ResourceExhausted)
    );
}

#[tokio::test]
async fn the_span_of_a_request_continues_the_callers_trace() {
    let running = start(Limits::default()).await;
    let caller = TraceContext::root();
    running.slow.answer.notify_one();
    call_slow(&running, &caller).await.unwrap();
    let spans = running.spans.get_finished_spans().unwrap();
    let span = spans
        .iter()
        .find(|span| span.name == "test.Slow/Wait")
        .unwrap();
    assert_eq!(
        span.span_context.trace_id().to_string(),
        caller.trace_id.to_string()
    );
    assert_eq!(span.parent_span_id.to_string(), caller.span_id.to_string());
}
