use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response, header};
use palinode_auth::{Access, Denied, Principal, Refused, Rules, Unruled, Verifier};
use palinode_values::{Clock, ErrorCode, UserId};
use tokio::sync::{Notify, watch};
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tower::{Layer, Service};

use crate::Details;
use crate::status::make;

/// How long a call waits for keys that are not known here yet.
const KEYS_LIMIT: Duration = Duration::from_secs(2);
/// Services that everybody may call: they tell nothing that is not public.
const PUBLIC: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// Whether everybody may call it, whoever he is.
pub(crate) fn is_public(path: &str) -> bool {
    PUBLIC.iter().any(|service| path.starts_with(service))
}

/// Lets callers in by the rule of each method (`palinode.auth.v1.access`) and by their token, which it
/// verifies itself: nothing that a gateway says of a caller is believed. Cheap to clone.
#[derive(Clone)]
pub struct Authorizer(Arc<Inner>);

struct Inner {
    rules: Rules,
    verifier: Verifier,
    /// Counts the times that keys were given.
    given: watch::Sender<u64>,
    wanted: Notify,
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

impl Authorizer {
    /// A authorizer that knows no keys yet: until it does, every token is answered with `Unavailable`.
    ///
    /// # Errors
    /// Names the methods of our contracts that have no rule.
    pub fn new(clock: Clock) -> Result<Self, Unruled> {
        Ok(Self(Arc::new(Inner {
            rules: Rules::of(&palinode_pb::DESCRIPTORS)?,
            verifier: Verifier::new(clock),
            given: watch::Sender::new(0),
            wanted: Notify::new(),
        })))
    }

    /// Takes over the keys that identity publishes (a JWK set, RFC 7517).
    ///
    /// # Errors
    /// It is no such set: the keys stay as they are.
    pub fn set_keys(
        &self,
        published: &str,
    ) -> Result<(), impl std::error::Error + Send + Sync + 'static> {
        let taken = self.0.verifier.set_keys(published);
        // also when they are as before: who waits need not wait any longer
        self.0.given.send_modify(|given| *given += 1);
        taken
    }

    /// Waits until a token names a key that is not known here.
    pub async fn keys_wanted(&self) {
        self.0.wanted.notified().await;
    }

    /// Whom the token of a request speaks for, as far as that is known here: to count, not to let in.
    #[must_use]
    pub fn subject(&self, headers: &HeaderMap) -> Option<UserId> {
        let token = token(headers).ok()??;
        let principal = self.0.verifier.verify(token);
        if let Err(Refused::UnknownKey | Refused::NoKeys) = principal {
            self.0.wanted.notify_one();
        }
        principal.ok().map(|principal| principal.subject)
    }

    /// Whom a token speaks for.
    async fn principal(&self, token: &str) -> Result<Principal, Refused> {
        let verifier = &self.0.verifier;
        let is_unknown = |verdict: &Result<Principal, Refused>| {
            matches!(verdict, Err(Refused::UnknownKey | Refused::NoKeys))
        };
        let verdict = verifier.verify(token);
        if !is_unknown(&verdict) {
            return verdict;
        }
        let mut given = self.0.given.subscribe();
        // once more, or keys that came just now would be waited for
        let verdict = verifier.verify(token);
        if !is_unknown(&verdict) {
            return verdict;
        }
        self.0.wanted.notify_one();
        // whether it came or not, the verdict below is the one that counts
        let waited = tokio::time::timeout(KEYS_LIMIT, given.changed()).await;
        if waited.is_err() {
            tracing::warn!("new keys for tokens were asked for and did not come in time");
        }
        verifier.verify(token)
    }

    async fn admit(
        &self,
        access: &Access,
        headers: &HeaderMap,
    ) -> Result<Option<palinode_auth::Caller>, Status> {
        let principal = match token(headers)? {
            None => None,
            Some(token) => Some(self.principal(token).await.map_err(refused)?),
        };
        access
            .admit(principal.as_ref())
            .map_err(|denied| match denied {
                Denied::SignInRequired => challenge(
                    make(
                        ErrorCode::Unauthenticated,
                        "SIGN_IN_REQUIRED",
                        "sign in, and send the access token as `authorization: Bearer …`",
                        Details::default(),
                    ),
                    r#"Bearer realm="palinode""#,
                ),
                Denied::RoleRequired => make(
                    ErrorCode::Forbidden,
                    "ROLE_REQUIRED",
                    &role_required(access),
                    Details::default(),
                ),
            })
    }
}

/// The one bearer token (RFC 6750) of a request.
fn token(headers: &HeaderMap) -> Result<Option<&str>, Status> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let bearer = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    });
    match (bearer, values.next()) {
        (Some(token), None) => Ok(Some(token)),
        _ => Err(refused(Refused::Invalid)),
    }
}

fn refused(refused: Refused) -> Status {
    let (code, reason) = match refused {
        Refused::Invalid | Refused::UnknownKey => (ErrorCode::Unauthenticated, "TOKEN_INVALID"),
        Refused::Expired => (ErrorCode::Unauthenticated, "TOKEN_EXPIRED"),
        Refused::NoKeys => (ErrorCode::Unavailable, "KEYS_UNAVAILABLE"),
    };
    let status = make(code, reason, &refused.to_string(), Details::default());
    match code {
        ErrorCode::Unauthenticated => {
            challenge(status, r#"Bearer realm="palinode", error="invalid_token""#)
        }
        _ => status,
    }
}

/// RFC 9110 §11.6.1: who is asked to sign in is told how.
fn challenge(mut status: Status, with: &'static str) -> Status {
    let value = MetadataValue::from_static(with);
    status.metadata_mut().insert("www-authenticate", value);
    status
}

fn role_required(access: &Access) -> String {
    let roles: Vec<String> = access.roles.iter().map(ToString::to_string).collect();
    match roles.as_slice() {
        [] => "this is for users, not for services".to_owned(),
        roles => format!("this needs one of the roles {}", roles.join(", ")),
    }
}

/// Puts a [`Authorizer`] in front of a server's routes.
#[derive(Debug, Clone)]
pub(crate) struct AuthorizerLayer(pub(crate) Option<Authorizer>);

impl<S> Layer<S> for AuthorizerLayer {
    type Service = Authorized<S>;

    fn layer(&self, inner: S) -> Authorized<S> {
        Authorized {
            inner,
            authorizer: self.0.clone(),
        }
    }
}

/// The service made by [`AuthorizerLayer`].
#[derive(Debug, Clone)]
pub(crate) struct Authorized<S> {
    inner: S,
    authorizer: Option<Authorizer>,
}

impl<S> Service<Request<Body>> for Authorized<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let Some(authorizer) = self.authorizer.clone() else {
            return Box::pin(self.inner.call(request));
        };
        if is_public(path) {
            return Box::pin(self.inner.call(request));
        }
        // the one that is ready goes along, its copy waits for the next call
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let Some(access) = authorizer.0.rules.get(request.uri().path()) else {
                let words = "there is no such method";
                return Ok(Status::unimplemented(words).into_http());
            };
            if !access.anyone {
                match authorizer.admit(access, request.headers()).await {
                    Ok(Some(caller)) => {
                        request.extensions_mut().insert(caller);
                    }
                    Ok(None) => {}
                    Err(status) => return Ok(status.into_http()),
                }
            }
            inner.call(request).await
        })
    }
}
