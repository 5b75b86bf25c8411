use std::time::Duration;

use http::HeaderMap;
use palinode_auth::Caller;
use palinode_telemetry::TraceContext;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use palinode_values::ErrorCode;

use crate::status::make;
use crate::{Details, Violations};

/// The longest that a call waits for an outcome.
pub const WAIT_LIMIT: Duration = Duration::from_secs(20);

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_KEY_LEN_MAX: usize = 128;

/// The trace context of the server's span of this request; a new root where no layer made one.
#[must_use]
pub fn trace_context<T>(request: &Request<T>) -> TraceContext {
    request
        .extensions()
        .get::<TraceContext>()
        .cloned()
        .unwrap_or_else(TraceContext::root)
}

/// A call that stays within the process, as if an authorizer had let this caller in: for tests and tools.
#[must_use]
pub fn call_of<T>(caller: Caller, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(caller);
    request
}

/// Who calls, as the server's authorizer has let him in.
///
/// # Errors
/// `Internal`: nobody was let in here, because the method is anybody's or the server has no authorizer.
pub fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request
        .extensions()
        .get::<Caller>()
        .cloned()
        .ok_or_else(|| {
            tracing::error!("a method asks who calls, and no authorizer has asked before");
            let words = "an internal error occurred";
            make(ErrorCode::Internal, "INTERNAL", words, Details::default())
        })
}

/// The caller's idempotency key: 1 to 128 visible ASCII characters; `None` when there is none.
///
/// # Errors
/// `Invalid`: it is too long, has other characters, or was sent twice.
pub fn idempotency_key<T>(request: &Request<T>) -> Result<Option<String>, Status> {
    let mut values = request.metadata().get_all(IDEMPOTENCY_KEY).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let wrong = |why: &str| Violations::of(IDEMPOTENCY_KEY, "INVALID_KEY", why);
    if values.next().is_some() {
        return Err(wrong("must be sent once").into());
    }
    let key = first.as_bytes();
    let well_formed =
        (1..=IDEMPOTENCY_KEY_LEN_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    if !well_formed {
        return Err(wrong("must be 1 to 128 visible ASCII characters").into());
    }
    Ok(Some(String::from_utf8_lossy(key).into_owned()))
}

/// An answer that the gateway turns into `201 Created` with this `location`, such as
/// `/v1/orders/0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42` (visible ASCII).
#[must_use]
pub fn created<T>(message: T, location: &str) -> Response<T> {
    at(message, location, "201")
}

fn at<T>(message: T, location: &str, status: &'static str) -> Response<T> {
    let mut response = Response::new(message);
    let metadata = response.metadata_mut();
    if let Ok(location) = location.parse() {
        metadata.insert("location", location);
    }
    metadata.insert("x-http-code", MetadataValue::from_static(status));
    response
}

/// How long the caller is ready to wait for an outcome: `Prefer: wait=10` (RFC 7240), in seconds, at
/// most [`WAIT_LIMIT`]. A preference that cannot be understood is none.
#[must_use]
pub fn wait_preference(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter();
    let mut texts = values.filter_map(|value| value.to_str().ok());
    texts.find_map(wait_of)
}

fn wait_of(prefer: &str) -> Option<Duration> {
    let wait = prefer.split([',', ';']).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("wait")
            .then(|| value.trim().trim_matches('"'))
    });
    let seconds = wait?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(WAIT_LIMIT))
}

/// An answer for which the caller has waited as it preferred, for `limit` at the most.
#[must_use]
pub fn waited<T>(mut response: Response<T>, limit: Duration) -> Response<T> {
    let applied = format!("wait={}", limit.as_secs());
    if let Ok(applied) = applied.parse() {
        response
            .metadata_mut()
            .insert("preference-applied", applied);
    }
    response
}

/// An answer that the gateway turns into `202 Accepted` with this `location`: the outcome is not
/// known yet, and will be found there.
#[must_use]
pub fn accepted<T>(message: T, location: &str) -> Response<T> {
    at(message, location, "202")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(keys: &[&str]) -> Request<()> {
        let mut request = Request::new(());
        for key in keys {
            request
                .metadata_mut()
                .append(IDEMPOTENCY_KEY, key.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_key_is_short_and_visible() {
        assert_eq!(idempotency_key(&request(&[])).unwrap(), None);
        let key = "k".repeat(128);
        assert_eq!(idempotency_key(&request(&[&key])).unwrap(), Some(key));
        for bad in ["", "a b", &"k".repeat(129)] {
            assert!(idempotency_key(&request(&[bad])).is_err(), "{bad:?}");
        }
        assert!(idempotency_key(&request(&["a", "b"])).is_err());
    }

    #[test]
    fn a_preference_to_wait_is_seconds() {
        let check = |prefer: &str, expect: Option<u64>| {
            assert_eq!(wait_of(prefer), expect.map(Duration::from_secs), "{prefer}");
        };
        check("wait=10", Some(10));
        check("respond-async, Wait = \"3\"", Some(3));
        check("return=minimal; wait=0", Some(0));
        check("wait=3600", Some(20));
        check("wait", None);
        check("wait=soon", None);
        check("wait=-1", None);
        check("", None);
    }
}
