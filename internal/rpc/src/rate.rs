use std::fmt;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use http::{Request, Response};
use palinode_auth::{Caller, Role};
use palinode_values::{ErrorCode, UserId};
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use crate::Details;
use crate::authorizer::is_public;
use crate::status::make;

/// Seconds of the rate that a bucket holds: who was quiet may make so many at once.
const BURST_S: u32 = 2;
/// How often callers who have been quiet are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(30);
/// Callers who are counted each by himself; 100 bytes each, or so. With more, those without a token are counted
/// together, until some have been quiet.
const CALLERS_MAX: usize = 100_000;
/// Requests between two looks at how many callers there are.
const LOOK_EVERY: u32 = 4_096;

/// Who is counted: whoever a token speaks for, and everybody else by his address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Counted {
    /// By his token.
    User(UserId),
    /// By where he calls from.
    Address(IpAddr),
}

impl Counted {
    /// Somebody without a token, by where he calls from; of an IPv6 address the network counts: one household
    /// has as many addresses as it likes.
    #[must_use]
    pub fn at(peer: Option<IpAddr>) -> Self {
        Self::Address(match peer.map(|peer| peer.to_canonical()) {
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            Some(address) => address,
            None => NOWHERE,
        })
    }
}

const NOWHERE: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

type Store = DefaultKeyedStateStore<Counted>;

/// How many requests one caller may make: a bucket each, which fills at a steady rate. Cheap to clone.
#[derive(Clone)]
pub struct Buckets(Arc<Inner>);

struct Inner {
    buckets: RateLimiter<Counted, Store, DefaultClock, StateInformationMiddleware>,
    burst: NonZeroU32,
    callers_max: usize,
    taken: AtomicU32,
    /// There are more callers than are counted each by himself.
    is_crowded: AtomicBool,
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").finish_non_exhaustive()
    }
}

impl Buckets {
    /// `rate` requests a second for each caller, twice as many at once.
    #[must_use]
    pub fn new(rate: NonZeroU32) -> Self {
        Self::of(rate, CALLERS_MAX)
    }

    fn of(rate: NonZeroU32, callers_max: usize) -> Self {
        let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_S - 1));
        let quota = Quota::per_second(rate).allow_burst(burst);
        Self(Arc::new(Inner {
            buckets: RateLimiter::keyed(quota).with_middleware(),
            burst,
            callers_max,
            taken: AtomicU32::new(0),
            is_crowded: AtomicBool::new(false),
        }))
    }

    /// Requests that a full bucket holds, and in how many seconds it fills.
    #[must_use]
    pub fn size(&self) -> (NonZeroU32, u32) {
        (self.0.burst, BURST_S)
    }

    /// Takes a request off a caller's bucket, and tells how many are left in it.
    ///
    /// # Errors
    /// It is empty: so long until there is one again.
    pub fn take(&self, who: &Counted) -> Result<u32, Duration> {
        let inner = &*self.0;
        if inner
            .taken
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(LOOK_EVERY)
        {
            self.look();
        }
        let is_crowded = inner.is_crowded.load(Ordering::Relaxed);
        let taken = match who {
            Counted::Address(_) if is_crowded => {
                inner.buckets.check_key(&Counted::Address(NOWHERE))
            }
            who => inner.buckets.check_key(who),
        };
        match taken {
            Ok(state) => Ok(state.remaining_burst_capacity()),
            Err(until) => Err(until.wait_time_from(inner.buckets.clock().now())),
        }
    }

    /// Sees to it that memory is bounded, also while many call who have never called before.
    fn look(&self) {
        let Inner {
            buckets,
            callers_max,
            is_crowded,
            ..
        } = &*self.0;
        if buckets.len() > *callers_max {
            buckets.retain_recent();
        }
        is_crowded.store(buckets.len() > *callers_max, Ordering::Relaxed);
    }

    /// Forgets who has been quiet, for ever.
    pub async fn forget(self) {
        loop {
            tokio::time::sleep(FORGET_EVERY).await;
            self.0.buckets.retain_recent();
            self.0.buckets.shrink_to_fit();
            self.look();
        }
    }
}

/// Limits what one caller may ask of a server, behind its authorizer: who was let in by a token is counted by it,
/// who calls what everybody may by his address. Services are not limited, nor are health and reflection.
#[derive(Debug, Clone)]
pub(crate) struct RateLayer(pub(crate) Option<Buckets>);

impl<S> Layer<S> for RateLayer {
    type Service = Rated<S>;

    fn layer(&self, inner: S) -> Rated<S> {
        Rated {
            inner,
            buckets: self.0.clone(),
        }
    }
}

/// The service made by [`RateLayer`].
#[derive(Debug, Clone)]
pub(crate) struct Rated<S> {
    inner: S,
    buckets: Option<Buckets>,
}

impl<S> Service<Request<Body>> for Rated<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(buckets) = &self.buckets
            && let Some(who) = counted(&request)
            && let Err(wait) = buckets.take(&who)
        {
            return Either::Right(ready(Ok(refused(wait))));
        }
        Either::Left(self.inner.call(request))
    }
}

/// `None`: whoever it is, he is not limited.
fn counted(request: &Request<Body>) -> Option<Counted> {
    if let Some(Caller { principal, .. }) = request.extensions().get::<Caller>() {
        let is_service = principal.roles.contains(&Role::Service);
        return (!is_service).then(|| Counted::User(principal.subject.clone()));
    }
    if is_public(request.uri().path()) {
        return None;
    }
    let peer = request.extensions().get::<TcpConnectInfo>();
    Some(Counted::at(
        peer.and_then(|peer| Some(peer.remote_addr()?.ip())),
    ))
}

fn refused(wait: Duration) -> Response<Body> {
    let words = "these are more calls than one caller may make: come again a little later";
    let details = Details {
        retry_after: Some(wait),
        ..Details::default()
    };
    make(ErrorCode::Limited, "RATE_LIMITED", words, details).into_http()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Counted {
        Counted::at(Some(address.parse().unwrap()))
    }

    #[test]
    fn a_household_is_counted_as_one() {
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
        assert_eq!(at("2001:db8:1:2:3:4:5:6"), at("2001:db8:1:2:ffff::1"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
    }

    #[test]
    fn a_user_is_counted_by_his_name_and_a_service_not_at_all() {
        let alice = Caller::customer("alice".parse().unwrap());
        let of = |path: &'static str, caller: Option<Caller>| {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = path.parse().unwrap();
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            counted(&request)
        };
        let method = "/palinode.order.v1.OrderService/ListOffers";
        let by_name = Counted::User("alice".parse().unwrap());
        assert_eq!(of(method, Some(alice.clone())), Some(by_name));
        assert_eq!(of(method, Some(alice.with(Role::Service))), None);
        assert_eq!(of(method, None), Some(Counted::at(None)));
        assert_eq!(of("/grpc.health.v1.Health/Check", None), None);
    }

    #[test]
    fn a_bucket_empties_and_says_when_there_is_more() {
        let buckets = Buckets::new(NonZeroU32::MIN);
        let (alice, bob) = (at("192.0.2.1"), at("192.0.2.2"));
        assert_eq!((buckets.take(&alice), buckets.take(&alice)), (Ok(1), Ok(0)));
        let wait = buckets.take(&alice).unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(buckets.take(&bob), Ok(1));
    }

    #[test]
    fn whoever_comes_from_many_addresses_takes_no_more_memory_than_some() {
        let max = 1_000;
        let buckets = Buckets::of(NonZeroU32::new(1_000_000).unwrap(), max);
        for number in 0..100_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            // each of them is quiet at once, and forgotten at the next look
            buckets.take(&Counted::Address(address)).ok();
        }
        let looks = usize::try_from(LOOK_EVERY).unwrap();
        assert!(buckets.0.buckets.len() <= max + looks + 1);

        let slow = Buckets::of(NonZeroU32::MIN, max);
        for number in 0..100_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            slow.take(&Counted::Address(address)).ok();
        }
        // nobody of them can be forgotten yet: those who are new are counted together
        assert!(slow.0.buckets.len() <= max + looks + 1);
        assert!(slow.take(&at("192.0.2.1")).is_err());
        let user = Counted::User("alice".parse().unwrap());
        assert_eq!(slow.take(&user), Ok(1));
    }
}
