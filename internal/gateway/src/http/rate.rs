//! How many requests one caller may make: a bucket each, which fills at a steady rate.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use http::{HeaderName, HeaderValue, Request, header};
use palinode_rpc::Authorizer;
use palinode_values::{ErrorCode, UserId};

use super::errors::problem;

/// Seconds of the rate that a bucket holds: who was quiet may make so many at once.
const BURST_S: u32 = 2;
/// How often callers who have been quiet are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(30);
/// Probes of the machinery around the gateway are not counted.
const UNCOUNTED: [&str; 2] = ["/healthz", "/readyz"];

/// draft-ietf-httpapi-ratelimit-headers-10.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Who is counted: whoever a token speaks for, and everybody else by his address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Caller {
    User(UserId),
    Address(IpAddr),
}

type Buckets =
    RateLimiter<Caller, DefaultKeyedStateStore<Caller>, DefaultClock, StateInformationMiddleware>;

/// Counts the requests of each caller. Cheap to clone.
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
        let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_S - 1));
        let quota = Quota::per_second(rate).allow_burst(burst);
        let policy = format!(r#""caller";q={burst};w={BURST_S}"#);
        Self(Arc::new(Inner {
            buckets: RateLimiter::keyed(quota).with_middleware(),
            policy: HeaderValue::try_from(policy).expect("digits are header text"),
            authorizer,
        }))
    }

    /// Forgets who has been quiet, for ever: what it remembers is bounded by those who call.
    pub(crate) async fn forget(self) {
        loop {
            tokio::time::sleep(FORGET_EVERY).await;
            self.0.buckets.retain_recent();
            self.0.buckets.shrink_to_fit();
        }
    }

    fn caller(&self, request: &Request<Body>) -> Caller {
        if let Some(user) = self.0.authorizer.subject(request.headers()) {
            return Caller::User(user);
        }
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Caller::Address(match peer.map(|peer| peer.ip().to_canonical()) {
            // one household has as many addresses as it likes
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            Some(address) => address,
            None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        })
    }

    /// Lets a request through, or tells its caller when to come again.
    pub(crate) async fn limit(self, request: Request<Body>, next: Next) -> Response {
        if UNCOUNTED.contains(&request.uri().path()) {
            return next.run(request).await;
        }
        let (mut response, left) = match self.0.buckets.check_key(&self.caller(&request)) {
            Ok(state) => (next.run(request).await, state.remaining_burst_capacity()),
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                (refused(wait), 0)
            }
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
        let alice = Caller::User("alice".parse().unwrap());
        assert_eq!(of("192.0.2.1", Some(&token)), alice);
        assert_eq!(of("192.0.2.2", Some(&token)), alice);
        // another token each time is no way around
        let here = Caller::Address("192.0.2.1".parse().unwrap());
        assert_eq!(of("192.0.2.1", Some("made.up.now")), here);
        assert_eq!(of("192.0.2.1", None), here);
        assert_eq!(of("::ffff:192.0.2.1", None), here);
        assert_eq!(
            of("2001:db8:1:2:3:4:5:6", None),
            of("2001:db8:1:2:ffff::1", None)
        );
        assert_ne!(of("2001:db8:1:2::1", None), of("2001:db8:1:3::1", None));
    }
}
