use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use palinode_lab::seed::password;
use serde_json::{Value as Json, json};

use crate::rig::Rig;

/// A browser as far as cookies go, which says of each request what kind of page has made it.
struct Browser {
    server: String,
    client: Client<HttpConnector, Full<Bytes>>,
    access: Option<String>,
    refresh: Option<String>,
}

struct Answer {
    status: StatusCode,
    text: String,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap()
    }

    fn refusal(&self) -> (StatusCode, String) {
        let problem = self.json();
        (
            self.status,
            problem["reason"].as_str().unwrap_or_default().to_owned(),
        )
    }
}

const OWN_PAGE: (&str, &str) = ("sec-fetch-site", "same-origin");

impl Browser {
    fn new(rig: &Rig) -> Self {
        Self {
            server: rig.gateway.server().to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            access: None,
            refresh: None,
        }
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        from: &[(&str, &str)],
        body: Json,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server))
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in from {
            request = request.header(*name, *value);
        }
        let cookies = [
            ("palinode-access", &self.access),
            ("palinode-refresh", &self.refresh),
        ];
        let cookies: Vec<_> = cookies
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)))
            .collect();
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = request.body(Full::from(body)).unwrap();
        let response = self.client.request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        self.take(&parts.headers);
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer {
            status: parts.status,
            text,
        }
    }

    fn take(&mut self, headers: &HeaderMap) {
        for value in headers.get_all(header::SET_COOKIE) {
            let (cookie, attributes) = value.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = cookie.split_once('=').unwrap();
            for needed in ["HttpOnly", "SameSite=Strict"] {
                assert!(attributes.contains(needed), "{attributes}");
            }
            let value = Some(value.to_owned()).filter(|_| !attributes.contains("Max-Age=0"));
            match name {
                "palinode-access" => self.access = value,
                "palinode-refresh" => {
                    assert!(attributes.contains("Path=/browser/session"), "{attributes}");
                    self.refresh = value;
                }
                other => panic!("{other}"),
            }
        }
    }

    async fn sign_in(&mut self, user: &str) -> Answer {
        let body = json!({"login": user, "password": password(user)});
        self.send(Method::POST, "/browser/session", &[OWN_PAGE], body)
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_has_a_session_without_ever_seeing_a_token() {
    let rig = Rig::start(async |_| {}).await;
    let mut alice = Browser::new(&rig);
    let signed_in = alice.sign_in("alice").await;
    assert_eq!(signed_in.status, StatusCode::OK);
    assert_eq!(signed_in.json()["user"]["userName"], "alice");
    let (access, refresh) = (
        alice.access.clone().unwrap(),
        alice.refresh.clone().unwrap(),
    );
    assert!(!signed_in.text.contains(&access) && !signed_in.text.contains(&refresh));

    let me = alice
        .send(Method::GET, "/v1/users/me", &[], Json::Null)
        .await;
    assert_eq!(me.json()["userName"], "alice");

    // another access token for the same session; the refresh token is another one too
    let renewed = alice
        .send(
            Method::POST,
            "/browser/session/renewal",
            &[OWN_PAGE],
            Json::Null,
        )
        .await;
    assert_eq!(renewed.status, StatusCode::OK);
    assert_ne!(alice.refresh.as_ref(), Some(&refresh));

    // the access token expires, and with it its cookie: signing out ends the session all the same
    alice.access = None;
    let last = alice.refresh.clone();
    let out = alice
        .send(Method::DELETE, "/browser/session", &[OWN_PAGE], Json::Null)
        .await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_eq!((&alice.access, &alice.refresh), (&None, &None));
    let me = alice
        .send(Method::GET, "/v1/users/me", &[], Json::Null)
        .await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
    alice.refresh = last;
    let renewed = alice
        .send(
            Method::POST,
            "/browser/session/renewal",
            &[OWN_PAGE],
            Json::Null,
        )
        .await;
    assert_eq!(renewed.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        alice.refresh, None,
        "what is good for nothing is thrown away"
    );

    let mut nobody = Browser::new(&rig);
    let wrong = json!({"login": "alice", "password": "is-not-this-one"});
    let refused = nobody
        .send(Method::POST, "/browser/session", &[OWN_PAGE], wrong)
        .await;
    let expect = (StatusCode::UNAUTHORIZED, "WRONG_CREDENTIALS".to_owned());
    assert_eq!(refused.refusal(), expect);
    assert_eq!(nobody.access, None);
    let renewed = nobody
        .send(
            Method::POST,
            "/browser/session/renewal",
            &[OWN_PAGE],
            Json::Null,
        )
        .await;
    let expect = (StatusCode::UNAUTHORIZED, "SIGN_IN_REQUIRED".to_owned());
    assert_eq!(renewed.refusal(), expect);
    rig.stop_services().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_counts_for_no_page_of_another_site() {
    let rig = Rig::start(async |_| {}).await;
    let mut admin = Browser::new(&rig);
    admin.sign_in("admin").await;
    let body = || json!({"delta": "1", "reason": "found"});
    let path = "/v1/stock/mug-blue:adjust";
    let own = admin.server.clone();
    let shouting = own.to_uppercase().replace("HTTP", "http");
    let foreign: [&[(&str, &str)]; 8] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "cross-site"), ("origin", &own)],
        &[("origin", "https://evil.example.org")],
        &[("origin", "null")],
        &[("referer", &own)],
        &[],
    ];
    for from in foreign {
        let answer = admin.send(Method::POST, path, from, body()).await;
        let expect = (StatusCode::FORBIDDEN, "CROSS_SITE_REQUEST".to_owned());
        assert_eq!(answer.refusal(), expect, "{from:?}");
    }
    for from in [OWN_PAGE, ("origin", &own), ("origin", &shouting)] {
        let answer = admin.send(Method::POST, path, &[from], body()).await;
        assert_eq!(answer.status, StatusCode::OK, "{from:?}");
    }
    // nobody is signed in, or out, by the page of somebody else
    for (method, path) in [
        (Method::POST, "/browser/session"),
        (Method::POST, "/browser/session/renewal"),
        (Method::DELETE, "/browser/session"),
    ] {
        let session = json!({"login": "bob", "password": password("bob")});
        let from = [("sec-fetch-site", "cross-site")];
        let answer = admin.send(method, path, &from, session).await;
        assert_eq!(answer.refusal().1, "CROSS_SITE_REQUEST", "{path}");
    }
    // who sends a token has it from nobody's browser
    let bearer = format!("Bearer {}", admin.access.take().unwrap());
    let from = [
        ("authorization", &*bearer),
        ("sec-fetch-site", "cross-site"),
    ];
    let answer = admin.send(Method::POST, path, &from, body()).await;
    assert_eq!(answer.status, StatusCode::OK);
    rig.stop_services().await;
}
