//! A page to try it, which asks no other host for anything.

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, Uri, header};

use super::serve::post_only;
use crate::http::packed;

/// In the addresses of its files: another version is another file.
macro_rules! graphiql {
    ($file:literal) => {
        concat!("/docs/graphiql-4.1.2/", $file)
    };
}

const SCRIPT: &[u8] = include_bytes!("../../assets/graphiql/graphiql.min.js.gz");
const STYLE: &[u8] = include_bytes!("../../assets/graphiql/graphiql.min.css.gz");
const REACT: &[u8] = include_bytes!("../../assets/graphiql/react.production.min.js.gz");
const REACT_DOM: &[u8] = include_bytes!("../../assets/graphiql/react-dom.production.min.js.gz");

const PAGE: &str = concat!(
    r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Palinode GraphQL</title>
<link rel="stylesheet" href=""#,
    graphiql!("graphiql.min.css"),
    r#"">
<style>html, body, #graphiql { height: 100%; margin: 0 }</style>
</head>
<body>
<noscript>This page needs JavaScript. The schema itself is at <a href="/schema.graphql">/schema.graphql</a>.</noscript>
<div id="graphiql"></div>
<script src=""#,
    graphiql!("react.production.min.js"),
    r#""></script>
<script src=""#,
    graphiql!("react-dom.production.min.js"),
    r#""></script>
<script src=""#,
    graphiql!("graphiql.min.js"),
    r#""></script>
<script src="/docs/graphiql.js"></script>
</body>
</html>
"#
);

const START: &str = r##"const fetcher = async (request, options) => {
  const answer = await fetch(location.pathname, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(options && options.headers) },
    body: JSON.stringify(request),
  });
  return answer.json();
};
ReactDOM.createRoot(document.getElementById('graphiql')).render(
  React.createElement(GraphiQL, {
    fetcher,
    defaultQuery: `# What can be ordered.
# The mutation login gives a token, which is a header:
# {"Authorization": "Bearer …"}
{
  products {
    id
    name
    price
    stock
  }
}
`,
    shouldPersistHeaders: false,
  }),
);
"##;

/// Scripts and pictures of this page alone; GraphiQL writes styles into its elements, and has its fonts with it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

/// `GET`: the page, and never an answer.
pub(super) async fn page(uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    if query
        .split('&')
        .any(|part| part.split('=').next() == Some("query"))
    {
        return post_only().into_response();
    }
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE)).into_response()
}

/// What the page needs.
pub(super) fn files() -> Router {
    let script = "text/javascript; charset=utf-8";
    Router::new()
        .route(
            "/docs/graphiql.js",
            get(async move || ([(header::CONTENT_TYPE, script)], START)),
        )
        .route(
            graphiql!("graphiql.min.js"),
            get(async move || packed(script, SCRIPT)),
        )
        .route(
            graphiql!("react.production.min.js"),
            get(async move || packed(script, REACT)),
        )
        .route(
            graphiql!("react-dom.production.min.js"),
            get(async move || packed(script, REACT_DOM)),
        )
        .route(
            graphiql!("graphiql.min.css"),
            get(async || packed("text/css; charset=utf-8", STYLE)),
        )
}
