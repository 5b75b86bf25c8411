use palinode_telemetry::TraceContext;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use crate::Violations;

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
    let mut response = Response::new(message);
    if let Ok(location) = location.parse() {
        response.metadata_mut().insert("location", location);
    }
    response
        .metadata_mut()
        .insert("x-http-code", MetadataValue::from_static("201"));
    response
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
}
