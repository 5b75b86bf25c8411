use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use palinode_telemetry::TraceContext;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::Endpoint;

pub use tonic::transport::Channel;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// For a call whose request sets no shorter one.
const CALL_LIMIT: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_LIMIT: Duration = Duration::from_secs(5);

/// A channel to the service at `host:port`. It connects with its first call, and again whenever
/// the connection is lost; a call that finds nobody fails within two seconds.
///
/// Call it inside the runtime.
#[must_use]
pub fn channel(address: &Authority) -> Channel {
    endpoint(address).timeout(CALL_LIMIT).connect_lazy()
}

/// The same for who sets a limit with each call.
#[must_use]
pub fn channel_without_limit(address: &Authority) -> Channel {
    endpoint(address).connect_lazy()
}

fn endpoint(address: &Authority) -> Endpoint {
    let uri = Uri::builder()
        .scheme("http")
        .authority(address.clone())
        .path_and_query("/")
        .build()
        .expect("scheme, authority and path make a URI");
    Endpoint::from(uri)
        .connect_timeout(CONNECT_LIMIT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
}

/// A request that carries a trace context to the service it is sent to.
pub fn traced<T>(message: T, context: &TraceContext) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    insert(metadata, "traceparent", Some(&context.traceparent()));
    insert(metadata, "tracestate", context.tracestate.as_deref());
    insert(metadata, "baggage", context.baggage.as_deref());
    request
}

fn insert(metadata: &mut MetadataMap, name: &'static str, value: Option<&str>) {
    let value = value.and_then(|text| MetadataValue::<Ascii>::try_from(text).ok());
    if let Some(value) = value {
        metadata.insert(name, value);
    }
}
