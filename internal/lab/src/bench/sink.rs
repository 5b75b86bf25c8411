use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread;

use anyhow::Context as _;
use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// A collector that counts spans and keeps none: what telemetry costs is then the sender's. On a
/// thread and a runtime of its own; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Sink {
    address: SocketAddr,
    spans: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sink {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let spans = Arc::new(AtomicU64::new(0));
        let collector = Collector(Arc::clone(&spans));
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, start) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("bench-sink".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                let served = runtime.map(|runtime| {
                    runtime.block_on(async {
                        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                        // nobody hears it when the starter has gone
                        started.send(listener.local_addr()?).ok();
                        let stopped = async { drop(stopped.await) };
                        Server::builder()
                            .add_service(collector)
                            .serve_with_incoming_shutdown(TcpIncoming::from(listener), stopped)
                            .await?;
                        anyhow::Ok(())
                    })
                });
                if let Ok(Err(error)) = served {
                    tracing::warn!(%error, "the sink has ended");
                }
            })?;
        Ok(Self {
            address: start.await.context("the sink does not start")?,
            spans,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn spans(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok(); // a panic in there was reported by its own thread
        }
    }
}

/// `opentelemetry.proto.collector.trace.v1.TraceService/Export`.
#[derive(Clone)]
struct Collector(Arc<AtomicU64>);

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let add = Add(Arc::clone(&self.0));
        Box::pin(async move { Ok(Grpc::new(Count).unary(add, request).await) })
    }
}

struct Add(Arc<AtomicU64>);

impl UnaryService<u64> for Add {
    type Response = ();
    type Future = std::future::Ready<Result<tonic::Response<()>, Status>>;

    fn call(&mut self, spans: tonic::Request<u64>) -> Self::Future {
        self.0.fetch_add(spans.into_inner(), Ordering::Relaxed);
        std::future::ready(Ok(tonic::Response::new(())))
    }
}

/// Requests are counted, answers are empty.
struct Count;

impl Codec for Count {
    type Encode = ();
    type Decode = u64;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Count {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Count {
    type Item = u64;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<u64>, Status> {
        let request = from.copy_to_bytes(from.remaining());
        // resource_spans, scope_spans, spans
        let spans = messages(request, &[1, 2, 2]);
        spans
            .map(Some)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

/// How many messages lie at the end of a path of field numbers.
fn messages(mut from: Bytes, path: &[u32]) -> Result<u64, prost::DecodeError> {
    let Some((field, rest)) = path.split_first() else {
        return Ok(1);
    };
    let mut found = 0;
    while from.has_remaining() {
        let (tag, wire) = decode_key(&mut from)?;
        if tag == *field && wire == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut from)?).unwrap_or(usize::MAX);
            let inner = from.split_to(length.min(from.len()));
            found += messages(inner, rest)?;
        } else {
            skip_field(wire, tag, &mut from, DecodeContext::default())?;
        }
    }
    Ok(found)
}
