use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value as Json;

/// Above the gateway's own limit for a call.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A client of a gateway's REST. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway {
    server: String,
    client: Client<HttpConnector, Full<Bytes>>,
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
        })
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
