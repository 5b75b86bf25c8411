use std::fmt::Write;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{Request, header};
use palinode_transcode::{Problem, Transcoder};
use palinode_values::ErrorCode;

use super::browser;
use super::docs;
use super::errors::{page, problem};

/// The routes of the protos, those of GraphQL and of browsers, and the gateway's own.
pub(crate) fn router<F>(
    transcoder: &Transcoder,
    graphql: Router,
    is_ready: F,
    is_secure: bool,
) -> Router
where
    F: Fn() -> bool + Clone + Send + Sync + 'static,
{
    let index = index(transcoder);
    Router::new()
        .route(
            "/",
            get(async || ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], index)),
        )
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || readyz(is_ready())))
        .route("/errors/{reason}", get(page))
        .merge(docs::routes(transcoder))
        .merge(browser::routes(transcoder.router(), is_secure))
        .merge(graphql)
        .method_not_allowed_fallback(async |request: Request<axum::body::Body>| {
            let words = format!("this path does not take {}", request.method());
            Problem::new(
                http::StatusCode::METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                words,
            )
        })
        .fallback_service(transcoder.router())
}

fn readyz(ready: bool) -> Response {
    if ready {
        "ready\n".into_response()
    } else {
        problem(
            ErrorCode::Unavailable,
            "the gateway is starting or stopping",
        )
        .into_response()
    }
}

/// What there is, for whoever opens the address in a browser.
fn index(transcoder: &Transcoder) -> String {
    let mut text =
        "Palinode: orders as sagas that can take back what they have done.\n\n".to_owned();
    for route in transcoder.routes() {
        writeln!(text, "{:<6} {}", route.verb.as_str(), route.template)
            .expect("a string takes every write");
    }
    text.push_str(
        "\nGET    /graphql\nPOST   /graphql\nGET    /schema.graphql\n\nPOST   /browser/session\nPOST   /browser/session/renewal\nDELETE /browser/session\n\nGET    /docs\nGET    /openapi.json\nGET    /errors/{reason}\nGET    /healthz\nGET    /readyz\n",
    );
    text
}
