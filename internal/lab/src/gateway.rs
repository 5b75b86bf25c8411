use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value as Json;

use crate::passes::{Pass, Passes, Who};

/// Above the gateway's own limit for a call.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A client of a gateway's REST. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway {
    server: String,
    client: Client<HttpConnector, Full<Bytes>>,
    shows: Shows,
}

/// What calls show of who makes them.
#[derive(Debug, Clone)]
enum Shows {
    Nothing,
    Token(HeaderValue),
    Pass(Arc<Passes>, Who),
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body of a success.
    ///
    /// # Errors
    /// Any other status: the words of the problem.
    pub fn success(&self) -> anyhow::Result<Json> {
        let body = self.json();
        if self.status.is_success() {
            return Ok(body);
        }
        let words = body["detail"].as_str().or_else(|| body["title"].as_str());
        let mut words = words.unwrap_or("no words").to_owned();
        for error in body["errors"].as_array().into_iter().flatten() {
            let of = |part: &str| error[part].as_str().unwrap_or_default();
            let wrong = format!("{} {}", of("field"), of("detail"));
            // of one wrong field the problem's own words tell already
            if wrong != words {
                words.push_str(&format!("; {wrong}"));
            }
        }
        let reason = body["reason"].as_str().unwrap_or_default();
        if ["SIGN_IN_REQUIRED", "TOKEN_EXPIRED", "TOKEN_INVALID"].contains(&reason) {
            words.push_str("; `palinode sign-in` opens a session");
        }
        anyhow::bail!("{}: {words}", self.status)
    }
}

impl Gateway {
    /// A client of the gateway at `server`, such as `http://127.0.0.1:8080`; nothing is sent yet.
    ///
    /// # Errors
    /// It is no such address.
    pub fn at(server: &str) -> anyhow::Result<Self> {
        let server = server.trim_end_matches('/');
        let uri: Uri = server.parse().context("the server is no address")?;
        anyhow::ensure!(
            uri.scheme_str() == Some("http") && uri.authority().is_some(),
            "the server is an address such as http://127.0.0.1:8080, not {server}"
        );
        Ok(Self {
            server: server.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            shows: Shows::Nothing,
        })
    }

    /// The same for an administrator, who becomes somebody else by [`Gateway::user`].
    #[must_use]
    pub fn with(self, passes: Passes) -> Self {
        self.with_shared(Arc::new(passes))
    }

    /// The same, of passes that others use too.
    #[must_use]
    pub fn with_shared(self, passes: Arc<Passes>) -> Self {
        let shows = Shows::Pass(passes, Who::admin());
        Self { shows, ..self }
    }

    /// The gateway of a stack whose databases are at hand.
    ///
    /// # Errors
    /// It is no address, or the database does not answer.
    pub async fn of_stack(url: &str, database_url: &str) -> anyhow::Result<Self> {
        Ok(Self::at(url)?.with(Passes::minted(database_url).await?))
    }

    /// The gateway of a `palinode dev` or `palinode stack`, whose accounts are known.
    ///
    /// # Errors
    /// It is no address.
    pub fn of_dev(url: &str) -> anyhow::Result<Self> {
        let nobody = Self::at(url)?;
        Ok(nobody.clone().with(Passes::of_accounts(nobody)))
    }

    /// The same, showing this token.
    ///
    /// # Errors
    /// It is no token.
    pub fn with_token(self, token: &str) -> anyhow::Result<Self> {
        let header = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut header = header.context("the token has characters that no token has")?;
        header.set_sensitive(true);
        let shows = Shows::Token(header);
        Ok(Self { shows, ..self })
    }

    /// The same for a customer of that name; without passes, the same.
    #[must_use]
    pub fn user(&self, name: &str) -> Self {
        let mut user = self.clone();
        if let Shows::Pass(_, who) = &mut user.shows {
            *who = Who::customer(name);
        }
        user
    }

    /// What its calls show.
    ///
    /// # Errors
    /// There are no passes, or nobody can sign in.
    pub async fn pass(&self) -> anyhow::Result<Pass> {
        match &self.shows {
            Shows::Pass(passes, who) => passes.of(who).await,
            Shows::Nothing | Shows::Token(_) => anyhow::bail!("this gateway gives no passes"),
        }
    }

    /// Places an order for the customer whose name stands in its `userId`.
    ///
    /// # Errors
    /// No answer.
    pub async fn order(&self, order: &Json, key: Option<&str>) -> anyhow::Result<Answer> {
        let mut order = order.clone();
        let user = order
            .as_object_mut()
            .and_then(|order| order.remove("userId"));
        let customer = match user.as_ref().and_then(Json::as_str) {
            Some(user) => self.user(user),
            None => self.clone(),
        };
        customer.post("/v1/orders", &order, key).await
    }

    /// Its address.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// GET.
    ///
    /// # Errors
    /// No answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None, Bytes::new()).await
    }

    /// POST of JSON, with an idempotency key if there is one.
    ///
    /// # Errors
    /// No answer.
    pub async fn post(&self, path: &str, body: &Json, key: Option<&str>) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, key, body.to_string().into())
            .await
    }

    /// Any request.
    ///
    /// # Errors
    /// No answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        match &self.shows {
            Shows::Nothing => {}
            Shows::Token(header) => request = request.header(header::AUTHORIZATION, header),
            // boxed: it may sign in through a gateway itself
            Shows::Pass(passes, who) => {
                let pass = Box::pin(passes.of(who)).await?;
                request = request.header(header::AUTHORIZATION, pass.header);
            }
        }
        let request = request.body(Full::new(body))?;
        let answer = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(anyhow::Error::from_boxed)?
                .to_bytes();
            Ok(Answer { status, body })
        };
        tokio::time::timeout(ANSWER_LIMIT, answer)
            .await
            .context("no answer in time")
            .and_then(|answer| answer)
            .with_context(|| format!("the gateway at {} does not answer", self.server))
    }
}
