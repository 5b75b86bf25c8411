//! Sessions of browsers: the tokens are in cookies that no script can read, and that count only for requests
//! which a page of this gateway has made.
//!
//! Sources: OWASP Cross-Site Request Forgery Prevention Cheat Sheet (Fetch Metadata, checked against `Origin` where a
//! browser does not send it), RFC 6265bis (`SameSite`, `__Host-`).

use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use palinode_values::ErrorCode;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::errors::problem;

/// Where a browser signs in, renews its tokens, and signs out.
const SESSION: &str = "/browser/session";
const RENEWAL: &str = "/browser/session/renewal";
/// Bytes of an answer with tokens.
const ANSWER_MAX: usize = 16 * 1024;

/// Names of the cookies. With HTTPS a browser takes them from this host alone, and never over HTTP: with a path of its
/// own, a neighbour of this host could set one that comes first.
#[derive(Debug, Clone, Copy)]
struct Names {
    access: &'static str,
    refresh: &'static str,
    is_secure: bool,
}

const fn names(is_secure: bool) -> Names {
    let (access, refresh) = if is_secure {
        ("__Host-palinode-access", "__Host-palinode-refresh")
    } else {
        ("palinode-access", "palinode-refresh")
    };
    Names {
        access,
        refresh,
        is_secure,
    }
}

/// Lets the cookie of a page of ours stand for the token that it holds. A request of another site that would
/// change something by it is refused.
pub(super) async fn bearer_of_cookie(
    is_secure: bool,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    let is_of_session = request.uri().path().starts_with(SESSION);
    let token = value_of(names(is_secure).access, request.headers());
    let has_own_token = request.headers().contains_key(header::AUTHORIZATION);
    let counts = !has_own_token && token.is_some() || is_of_session;
    if counts && !request.method().is_safe() && !is_of_own_page(&request) {
        let words =
            "cookies count only for requests of pages of this address: send a token instead";
        let refused = problem(ErrorCode::Forbidden, words).with_reason("CROSS_SITE_REQUEST");
        return refused.into_response();
    }
    if let Some(token) = token.filter(|_| !has_own_token) {
        request.headers_mut().extend(bearer(&token));
    }
    if !is_of_session {
        // nobody behind this has any use for them
        request.headers_mut().remove(header::COOKIE);
    }
    next.run(request).await
}

/// Whether a page of this address has made the request: by the browser's own word, or by the page's origin. Who says
/// neither is no browser of these years, and can send a token.
fn is_of_own_page(request: &Request<Body>) -> bool {
    let text = |name| request.headers().get(name).map(HeaderValue::to_str);
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return site.is_ok_and(|site| site == "same-origin");
    }
    let authority = |uri: Uri| uri.authority().map(|it| it.as_str().to_ascii_lowercase());
    let origin = text(header::ORIGIN).and_then(|origin| origin.ok()?.parse().ok());
    let host = authority(request.uri().clone()).or_else(|| {
        let host = text(header::HOST)?.ok()?;
        Some(host.to_ascii_lowercase())
    });
    origin
        .and_then(authority)
        .is_some_and(|origin| Some(origin) == host)
}

fn value_of(name: &str, headers: &HeaderMap) -> Option<String> {
    let texts = headers.get_all(header::COOKIE).into_iter();
    texts
        .filter_map(|text| text.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned())
}

fn bearer(token: &str) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    Some((header::AUTHORIZATION, value))
}

/// `POST` and `DELETE /browser/session`, `POST /browser/session/renewal`: sign in, sign out, and new tokens, by the
/// API itself, whose tokens go no further than here.
pub(super) fn routes(api: Router, is_secure: bool) -> Router {
    let names = names(is_secure);
    let session = Session { api, names };
    Router::new()
        .route(SESSION, post(sign_in).delete(sign_out))
        .route(RENEWAL, post(renew))
        .with_state(session)
}

#[derive(Debug, Clone)]
struct Session {
    api: Router,
    names: Names,
}

/// What identity answers to a sign-in.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tokens {
    access_token: String,
    refresh_token: String,
    expires_in: i64,
    user: Value,
}

async fn sign_in(State(session): State<Session>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let answer = session
        .ask(&parts, Method::POST, "/v1/sessions", body)
        .await;
    session.take_over(answer).await
}

async fn renew(State(session): State<Session>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let Some(token) = value_of(session.names.refresh, &parts.headers) else {
        return signed_out();
    };
    let answer = session.refresh(&parts, &token).await;
    let is_over = answer.status().is_client_error() && !is_undecided(answer.status());
    let mut response = session.take_over(answer).await;
    if is_over {
        session.forget(&mut response);
    }
    response
}

async fn sign_out(State(session): State<Session>, request: Request<Body>) -> Response {
    let (mut parts, _) = request.into_parts();
    if !parts.headers.contains_key(header::AUTHORIZATION)
        && let Some(token) = value_of(session.names.refresh, &parts.headers)
    {
        // the access token has expired: the session has not
        let answer = session.refresh(&parts, &token).await;
        if is_undecided(answer.status()) {
            return answer;
        }
        if let Ok(tokens) = read(answer).await {
            parts.headers.extend(bearer(&tokens.access_token));
        }
    }
    let path = "/v1/sessions/current";
    let answer = session
        .ask(&parts, Method::DELETE, path, Body::empty())
        .await;
    if is_undecided(answer.status()) {
        return answer;
    }
    // a session that is over already is signed out too
    let mut response = StatusCode::NO_CONTENT.into_response();
    session.forget(&mut response);
    response
}

/// Whether an answer tells nothing of the session, which may live on.
fn is_undecided(status: StatusCode) -> bool {
    let again = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
    status.is_server_error() || again.contains(&status)
}

fn signed_out() -> Response {
    let words = "there is no session: sign in";
    let problem = problem(ErrorCode::Unauthenticated, words).with_reason("SIGN_IN_REQUIRED");
    problem.into_response()
}

async fn read(answer: Response) -> Result<Tokens, Response> {
    if !answer.status().is_success() {
        return Err(answer);
    }
    let unreadable = || problem(ErrorCode::Internal, "an internal error occurred").into_response();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|_| unreadable())?.to_bytes();
    serde_json::from_slice(&body).map_err(|_| unreadable())
}

impl Session {
    /// Asks the API in the name of a request.
    async fn ask(&self, parts: &Parts, verb: Method, path: &'static str, body: Body) -> Response {
        let mut parts = parts.clone();
        parts.method = verb;
        parts.uri = Uri::from_static(path);
        parts.headers.remove(header::COOKIE);
        let asked = self.api.clone().oneshot(Request::from_parts(parts, body));
        asked.await.unwrap_or_else(|never| match never {})
    }

    async fn refresh(&self, parts: &Parts, token: &str) -> Response {
        let mut parts = parts.clone();
        for length in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            parts.headers.remove(length);
        }
        let json = HeaderValue::from_static("application/json");
        parts.headers.insert(header::CONTENT_TYPE, json);
        let body = json!({ "refreshToken": token }).to_string();
        self.ask(&parts, Method::POST, "/v1/sessions:refresh", body.into())
            .await
    }

    /// Puts the tokens of an answer into cookies, and answers with what a page may know.
    async fn take_over(&self, answer: Response) -> Response {
        let tokens = match read(answer).await {
            Ok(tokens) => tokens,
            Err(refused) => return refused,
        };
        let body = json!({ "user": tokens.user, "expiresIn": tokens.expires_in });
        let mut response = Json(body).into_response();
        let age = Duration::seconds(tokens.expires_in);
        self.set(&mut response, &self.access(tokens.access_token, Some(age)));
        // it ends with the browser, or with the session
        self.set(
            &mut response,
            &self.refresh_cookie(tokens.refresh_token, None),
        );
        response
    }

    fn forget(&self, response: &mut Response) {
        let now = Some(Duration::ZERO);
        self.set(response, &self.access(String::new(), now));
        self.set(response, &self.refresh_cookie(String::new(), now));
    }

    fn access(&self, token: String, age: Option<Duration>) -> Cookie<'static> {
        self.cookie(self.names.access, "/", token, age)
    }

    fn refresh_cookie(&self, token: String, age: Option<Duration>) -> Cookie<'static> {
        let path = if self.names.is_secure {
            "/" // what the prefix of its name wants
        } else {
            SESSION
        };
        self.cookie(self.names.refresh, path, token, age)
    }

    fn cookie(
        &self,
        name: &'static str,
        path: &'static str,
        token: String,
        age: Option<Duration>,
    ) -> Cookie<'static> {
        let mut cookie = Cookie::build((name, token))
            .path(path)
            .http_only(true)
            .secure(self.names.is_secure)
            .same_site(SameSite::Strict)
            .build();
        cookie.set_max_age(age);
        cookie
    }

    fn set(&self, response: &mut Response, cookie: &Cookie<'_>) {
        let value = HeaderValue::try_from(cookie.to_string());
        let value = value.expect("a token is header text, as it came in one");
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signs out with a refresh cookie, where the refresh is answered `refresh` and the rest `rest`.
    async fn sign_out_where(refresh: StatusCode, rest: StatusCode) -> (StatusCode, usize) {
        let api = Router::new().fallback(async move |uri: Uri| match uri.path() {
            "/v1/sessions:refresh" => refresh,
            _ => rest,
        });
        let request = Request::delete(SESSION)
            .header(header::COOKIE, "__Host-palinode-refresh=r")
            .body(Body::empty())
            .unwrap();
        let answer = routes(api, true).oneshot(request).await.unwrap();
        let cookies = answer.headers().get_all(header::SET_COOKIE).iter().count();
        (answer.status(), cookies)
    }

    #[tokio::test]
    async fn nobody_is_told_that_he_is_signed_out_while_his_session_may_live() {
        let (away, busy) = (
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        );
        let refused = StatusCode::UNAUTHORIZED;
        assert_eq!(sign_out_where(away, refused).await, (away, 0));
        assert_eq!(sign_out_where(busy, refused).await, (busy, 0));
        assert_eq!(sign_out_where(refused, away).await, (away, 0));
        assert_eq!(sign_out_where(refused, busy).await, (busy, 0));
        let over = (StatusCode::NO_CONTENT, 2);
        assert_eq!(sign_out_where(refused, refused).await, over);
    }
}
