mod tls;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum_server::accept::NoDelayAcceptor;
use axum_server::{Handle, Server};
use palinode_rpc::{channel_without_limit as channel, error_code, wait_preference};
use palinode_service::{Context, Peers, Readiness};
use palinode_transcode::{BuildError, StatusRule, Transcoder};
use tokio_util::sync::CancellationToken;

use crate::clients::Services;
use crate::graphql;
use crate::http::{self, Edge, Limiter};

use tls::Certificate;

/// Bytes of a request's body: an order of 100 lines has about 6 KiB.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Of a call that is not asked to wait.
const CALL_LIMIT: Duration = Duration::from_secs(8);
/// A stream ends then, and its client asks again: so connections move to new gateways.
const STREAM_LIMIT: Duration = Duration::from_secs(600);
/// For a new connection to say what it wants.
const FIRST_LIMIT: Duration = Duration::from_secs(10);
/// For one that has said something to say more, or to answer when it is asked whether it is there. Longer than proxies
/// keep a connection that rests: one that is closed under a request is the worse end.
const REST_LIMIT: Duration = Duration::from_secs(75);
/// A call that is not asked to wait is answered in this time, and the process has more.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Builds the gateway and serves it on the context's listener.
///
/// # Errors
/// The annotations of the protos contradict each other.
pub async fn build(context: Context) -> anyhow::Result<()> {
    let transcoder = transcoder(context.peers())?;
    let (listener, stop) = (context.take_listener(), context.tasks.stop_token());
    let readiness = context.readiness.clone();
    let is_secure = context.config.tls_cert.is_some() || context.config.behind_https;
    let is_ready = readiness_of(readiness, stop.clone());
    let services = Services::new(
        context.peers(),
        transcoder.clone(),
        CALL_LIMIT,
        context.clock.clone(),
    );
    let graphql = graphql::routes(services);
    let router = http::router(&transcoder, graphql, is_ready, is_secure);
    let limiter = NonZeroU32::new(context.config.rate_limit)
        .map(|rate| anyhow::Ok(Limiter::new(rate, context.callers()?)))
        .transpose()?;
    if let Some(limiter) = &limiter {
        context.forget_quiet(limiter.buckets());
    }
    let edge = Edge {
        limiter,
        is_secure,
        origins: context.config.origins()?,
    };
    let app = http::layers(router, edge, context.tracer.clone(), context.clock.clone());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let (listener, handle) = (listener.into_std()?, Handle::new());
    match Certificate::of(&context.config).await? {
        Some(certificate) => {
            let renewal = certificate.clone();
            let stopped = stop.clone();
            context.spawn("certificate", async move {
                tokio::select! {
                    () = stopped.cancelled() => Ok(()),
                    () = renewal.renew() => Ok(()),
                }
            });
            let server = limited(certificate.server(listener)?).handle(handle.clone());
            context.spawn("https", until(stop, handle, server.serve(app)));
        }
        None => {
            let server = axum_server::from_tcp(listener)?.acceptor(NoDelayAcceptor::new());
            let server = limited(server).handle(handle.clone());
            context.spawn("http", until(stop, handle, server.serve(app)));
        }
    }
    Ok(())
}

fn transcoder(peers: &Peers) -> Result<Transcoder, BuildError> {
    Transcoder::builder(palinode_pb::DESCRIPTORS.clone())
        .service("palinode.order.v1.OrderService", channel(&peers.order))
        .service("palinode.order.v1.CartService", channel(&peers.order))
        .service("palinode.order.v1.QuoteService", channel(&peers.order))
        .service(
            "palinode.identity.v1.IdentityService",
            channel(&peers.identity),
        )
        .service(
            "palinode.catalog.v1.CatalogService",
            channel(&peers.catalog),
        )
        .service(
            "palinode.inventory.v1.InventoryService",
            channel(&peers.inventory),
        )
        .service(
            "palinode.payment.v1.PaymentService",
            channel(&peers.payment),
        )
        .service(
            "palinode.shipping.v1.ShippingService",
            channel(&peers.shipping),
        )
        .service("palinode.saga.v1.SagaService", channel(&peers.orchestrator))
        .service(
            "palinode.saga.v1.StarterService",
            channel(&peers.orchestrator),
        )
        .deadline_of(|headers| CALL_LIMIT + wait_preference(headers).unwrap_or_default())
        .stream_limit(STREAM_LIMIT)
        .resume_field("resume_token")
        .body_limit(BODY_BYTES_MAX)
        .status_table(|code| {
            error_code(code).map_or_else(|| StatusRule::google(code), http::status_rule)
        })
        .status_from_metadata(::http::HeaderName::from_static("x-http-code"))
        .build()
}

/// Ready, and not about to stop.
fn readiness_of(
    readiness: Readiness,
    stop: CancellationToken,
) -> impl Fn() -> bool + Clone + Send + Sync + 'static {
    move || readiness.is_ready() && !stop.is_cancelled()
}

/// Whoever opens a connection has to say something, and to be there still.
fn limited<A>(mut server: Server<SocketAddr, A>) -> Server<SocketAddr, A> {
    let builder = server.http_builder();
    builder.http1().header_read_timeout(REST_LIMIT);
    builder
        .http2()
        .keep_alive_interval(REST_LIMIT)
        .keep_alive_timeout(REST_LIMIT);
    server.first_request_timeout(FIRST_LIMIT)
}

/// Serves until `stop`; then lets requests in flight end.
async fn until(
    stop: CancellationToken,
    handle: Handle<SocketAddr>,
    serving: impl Future<Output = std::io::Result<()>>,
) -> anyhow::Result<()> {
    let stopped = async {
        stop.cancelled().await;
        handle.graceful_shutdown(Some(DRAIN_LIMIT));
        // the server ends by itself then
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = serving => Ok(served?),
        () = stopped => Ok(()),
    }
}
