//! GraphQL over HTTP: <https://graphql.github.io/graphql-over-http/draft/>.

use std::sync::Arc;

use async_graphql::parser::parse_query;
use async_graphql::{Request as Asked, Response as Answer, ServerError, Value as GraphValue};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use palinode_transcode::Problem;
use serde_json::{Value as Json, json};

use super::schema::{Graph, Noted, Notes, schema};
use super::{errors, limits, loaders, page};
use crate::clients::{Calls, Services};

/// Where it is served: by the second of these it was known before.
const PATHS: [&str; 2] = ["/graphql", "/query"];

/// What a client asks for that can tell a wrong request by its status.
const OWN_TYPE: &str = "application/graphql-response+json";

struct Api {
    graph: Graph,
    services: Arc<Services>,
}

/// `POST` of GraphQL, the page to try it at `GET`, and the schema as text.
pub(crate) fn routes(services: Services) -> Router {
    let graph = schema();
    let text = axum::body::Bytes::from(graph.sdl());
    let api = Arc::new(Api {
        graph,
        services: Arc::new(services),
    });
    let mut router = Router::new();
    for path in PATHS {
        router = router.route(path, get(page::page).post(serve));
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    router
        .with_state(api)
        .route("/schema.graphql", get(async move || (kind, text)))
        .merge(page::files())
}

async fn serve(State(api): State<Arc<Api>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let calls = Arc::new(Calls::of(&api.services, &parts));
    let transcoder = &api.services.transcoder;
    let body = transcoder.read_json(&parts.headers, body, calls.until());
    let body = match body.await {
        Ok(body) => body,
        Err(mut problem) => {
            problem.instance = Some(parts.uri.path().to_owned());
            problem.trace_id.clone_from(&calls.trace_id);
            return problem.into_response();
        }
    };
    let form = Form {
        is_own: takes_own_type(&parts.headers),
        trace_id: calls.trace_id.as_deref(),
    };
    match read(&body) {
        Ok(asked) => {
            let (answer, noted) = api.run(asked, Arc::clone(&calls)).await;
            form.answer(answer, noted)
        }
        // not even a request of GraphQL
        Err(words) => {
            let error = server_error(errors::invalid("INVALID_REQUEST", words));
            let answer = Answer::from_errors(vec![error]);
            let mut response = form.answer(answer, Noted::default());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        }
    }
}

/// One request: batches are none.
fn read(body: &[u8]) -> Result<Asked, String> {
    let json: Json = serde_json::from_slice(body)
        .map_err(|error| format!("the body is not valid JSON: {error}"))?;
    if json.is_array() {
        return Err("one request at a time: this is a list".to_owned());
    }
    if !json["query"].is_string() {
        return Err("`query` must be the text of a document".to_owned());
    }
    let rest = |name: &str| !json[name].is_null();
    if rest("variables") && !json["variables"].is_object() {
        return Err("`variables` must be an object".to_owned());
    }
    if rest("operationName") && !json["operationName"].is_string() {
        return Err("`operationName` must be text".to_owned());
    }
    let kept = ["query", "variables", "operationName"];
    let kept = kept.map(|name| (name.to_owned(), json[name].clone()));
    let kept: serde_json::Map<_, _> = kept
        .into_iter()
        .filter(|(_, part)| !part.is_null())
        .collect();
    serde_json::from_value(Json::Object(kept))
        .map_err(|error| format!("the body is no request of GraphQL: {error}"))
}

impl Api {
    async fn run(&self, mut asked: Asked, calls: Arc<Calls>) -> (Answer, Noted) {
        let document = match parse_query(&asked.query) {
            Ok(document) => document,
            Err(error) => return (Answer::from_errors(vec![error.into()]), Noted::default()),
        };
        if let Err(error) = limits::check(&document) {
            let answer = Answer::from_errors(vec![server_error(error)]);
            return (answer, Noted::default());
        }
        asked.set_parsed_query(document);
        let notes = Arc::new(Notes::default());
        let asked = asked
            .data(loaders::new(Arc::clone(&calls)))
            .data(calls)
            .data(Arc::clone(&notes));
        let answer = self.graph.execute(asked).await;
        (answer, notes.take())
    }
}

/// An error of the request as a whole.
fn server_error(error: async_graphql::Error) -> ServerError {
    let mut whole = ServerError::new(error.message, None);
    whole.extensions = error.extensions;
    whole
}

/// Whether the client prefers the type that belongs to GraphQL alone.
fn takes_own_type(headers: &HeaderMap) -> bool {
    let mut accepts = headers.get_all(header::ACCEPT).iter();
    accepts.any(|accept| accept.to_str().is_ok_and(|kinds| kinds.contains(OWN_TYPE)))
}

/// How answers to a client look.
struct Form<'r> {
    is_own: bool,
    trace_id: Option<&'r str>,
}

impl Form<'_> {
    fn answer(&self, mut answer: Answer, noted: Noted) -> Response {
        for error in &mut answer.errors {
            errors::complete(error, self.trace_id);
        }
        // what is wrong with a whole request stands nowhere in its answer
        let is_refused =
            !answer.errors.is_empty() && answer.errors.iter().all(|error| error.path.is_empty());
        let mut body = serde_json::Map::new();
        if !answer.errors.is_empty() {
            body.insert("errors".to_owned(), json!(answer.errors));
        }
        if !is_refused {
            let data = std::mem::take(&mut answer.data);
            body.insert(
                "data".to_owned(),
                GraphValue::into_json(data).unwrap_or_default(),
            );
        }
        let mut extensions = serde_json::Map::new();
        for (name, notes) in [("truncated", noted.truncated), ("pending", noted.pending)] {
            if !notes.is_empty() {
                extensions.insert(name.to_owned(), json!(notes));
            }
        }
        if !extensions.is_empty() {
            body.insert("extensions".to_owned(), Json::Object(extensions));
        }
        // older clients take every status but 200 for a failure of the network
        let status = match is_refused && self.is_own {
            true => StatusCode::BAD_REQUEST,
            false => StatusCode::OK,
        };
        let kind = if self.is_own {
            OWN_TYPE
        } else {
            "application/json"
        };
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
        (status, kind, Json::Object(body).to_string()).into_response()
    }
}

/// What is told to who asks by `GET`.
pub(super) fn post_only() -> Problem {
    let words = "a request of GraphQL is a POST of JSON";
    let mut problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", words);
    let allow = HeaderValue::from_static("POST");
    problem.headers.insert(header::ALLOW, allow);
    problem
}
