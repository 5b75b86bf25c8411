//! How many requests one caller may make: a bucket each, which fills at a steady rate.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Request, header};
use palinode_rpc::{Authorizer, Buckets, Counted};
use palinode_values::ErrorCode;

use super::errors::problem;

/// Probes of the machinery around the gateway are not counted.
const UNCOUNTED: [&str; 2] = ["/healthz", "/readyz"];

/// draft-ietf-httpapi-ratelimit-headers-10.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Counts the requests of each caller: whoever a token speaks for, and everybody else by his address. Cheap to
/// clone.
#[derive(Clone)]
pub(crate) struct Limiter(Arc<Inner>);

struct Inner {
    buckets: Buckets,
    policy: HeaderValue,
    authorizer: Authorizer,
}

impl Limiter {
    /// `rate` requests a second for each caller, twice as many at once.
    pub(crate) fn new(rate: NonZeroU32, authorizer: Authorizer) -> Self {
        let buckets = Buckets::new(rate);
        let (burst, seconds) = buckets.size();
        let policy = format!(r#""caller";q={burst};w={seconds}"#);
        Self(Arc::new(Inner {
            buckets,
            policy: HeaderValue::try_from(policy).expect("digits are header text"),
            authorizer,
        }))
    }

    /// What it counts by.
    pub(crate) fn buckets(&self) -> Buckets {
        self.0.buckets.clone()
    }

    fn caller(&self, request: &Request<Body>) -> Counted {
        if let Some(user) = self.0.authorizer.subject(request.headers()) {
            return Counted::User(user);
        }
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Counted::at(peer.map(|peer| peer.ip()))
    }

    /// Lets a request through, or tells its caller when to come again.
    pub(crate) async fn limit(self, request: Request<Body>, next: Next) -> Response {
        if UNCOUNTED.contains(&request.uri().path()) {
            return next.run(request).await;
        }
        let (mut response, left) = match self.0.buckets.take(&self.caller(&request)) {
            Ok(left) => (next.run(request).await, left),
            Err(wait) => (refused(wait), 0),
        };
        let headers = response.headers_mut();
        headers.insert(POLICY, self.0.policy.clone());
        let limit = format!(r#""caller";r={left};t=1"#);
        if let Ok(limit) = HeaderValue::try_from(limit) {
            headers.insert(LIMIT, limit);
        }
        response
    }
}

fn refused(wait: Duration) -> Response {
    let words =
        "these are more requests than one caller may make: come again after `Retry-After` seconds";
    let mut problem = problem(ErrorCode::Limited, words).with_reason("RATE_LIMITED");
    let seconds = HeaderValue::from(wait.as_secs() + 1);
    problem.headers.insert(header::RETRY_AFTER, seconds);
    problem.into_response()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use palinode_auth::{Grant, Role, Signer};
    use palinode_values::Clock;

    use super::*;

    #[test]
    fn who_shows_a_good_token_is_counted_by_it_and_everybody_else_by_his_address() {
        let signer = Signer::read(&Signer::draw().unwrap()).unwrap();
        let authorizer = Authorizer::new(Clock::system()).unwrap();
        authorizer.set_keys(&Signer::publish([&signer])).unwrap();
        let limiter = Limiter::new(NonZeroU32::MIN, authorizer);
        let grant = Grant {
            subject: "alice".parse().unwrap(),
            roles: vec![Role::Customer],
            session: None,
            lifetime: Duration::from_secs(60),
        };
        let token = signer.sign(&grant, Clock::system().now()).unwrap();
        let of = |address: &str, token: Option<&str>| {
            let mut request = Request::new(Body::empty());
            let peer: IpAddr = address.parse().unwrap();
            let peer = ConnectInfo(SocketAddr::from((peer, 1)));
            request.extensions_mut().insert(peer);
            if let Some(token) = token {
                let value = format!("Bearer {token}").parse().unwrap();
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
            limiter.caller(&request)
        };
        let alice = Counted::User("alice".parse().unwrap());
        assert_eq!(of("192.0.2.1", Some(&token)), alice);
        assert_eq!(of("192.0.2.2", Some(&token)), alice);
        // another token each time is no way around
        let here = Counted::at(Some("192.0.2.1".parse().unwrap()));
        assert_eq!(of("192.0.2.1", Some("made.up.now")), here);
        assert_eq!(of("192.0.2.1", None), here);
    }
}
