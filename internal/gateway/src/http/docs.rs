//! The API's description, and a page that draws it.

use std::sync::LazyLock;

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, header};
use palinode_auth::Rules;
use palinode_transcode::{ApiInfo, RequestHeader, Route, Transcoder};

/// In the addresses of its files: another version is another file.
macro_rules! swagger_ui {
    ($file:literal) => {
        concat!("/docs/swagger-ui-5.35.0/", $file)
    };
}

const SCRIPT: &[u8] = include_bytes!("../../assets/swagger-ui/swagger-ui-bundle.js.gz");
const STYLE: &[u8] = include_bytes!("../../assets/swagger-ui/swagger-ui.css.gz");

const PAGE: &str = concat!(
    r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Palinode API</title>
<link rel="stylesheet" href=""#,
    swagger_ui!("swagger-ui.css"),
    r#"">
</head>
<body>
<noscript>This page needs JavaScript. The description itself is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<div id="swagger-ui"></div>
<script src=""#,
    swagger_ui!("swagger-ui-bundle.js"),
    r#""></script>
<script src="/docs/start.js"></script>
</body>
</html>
"#
);

const START: &str = "SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
";

/// Scripts and pictures of this page alone; Swagger UI writes styles into its elements.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

/// The methods that keep an `Idempotency-Key` with what they did.
const KEYED: [&str; 11] = [
    "palinode.catalog.v1.CatalogService.CreateProduct",
    "palinode.identity.v1.IdentityService.RegisterUser",
    "palinode.order.v1.OrderService.PlaceOrder",
    "palinode.order.v1.OrderService.CancelOrder",
    "palinode.order.v1.CartService.CheckOut",
    "palinode.order.v1.QuoteService.CreateQuote",
    "palinode.inventory.v1.InventoryService.AdjustStock",
    "palinode.payment.v1.PaymentService.CreditWallet",
    "palinode.payment.v1.PaymentService.RefundPayment",
    "palinode.saga.v1.SagaService.ActOnSaga",
    "palinode.saga.v1.SagaService.CreateBulk",
];

/// The methods whose answers wait for an outcome.
const WAITING: [&str; 2] = [
    "palinode.order.v1.OrderService.PlaceOrder",
    "palinode.order.v1.CartService.CheckOut",
];

/// Whether the rule of a method asks who calls.
fn wants_token(route: &Route) -> bool {
    static RULES: LazyLock<Option<Rules>> =
        LazyLock::new(|| Rules::of(&palinode_pb::DESCRIPTORS).ok());
    let path = route.method.rsplit_once('.');
    let path = path.map(|(service, method)| format!("/{service}/{method}"));
    let rules = RULES.as_ref();
    let access = rules.zip(path).and_then(|(rules, path)| rules.get(&path));
    access.is_none_or(|access| !access.anyone)
}

/// The document of every route.
fn document(transcoder: &Transcoder) -> String {
    let document = transcoder.openapi(&ApiInfo {
        title: "Palinode".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: concat!(
            "Orders as sagas that can take back what they have done.\n\n",
            "Errors are problem details (RFC 9457); `code` says how to react, `reason` what happened, ",
            "and `/errors/{reason}` explains it. `POST /v1/sessions` gives the access token that most calls want. Numbers of 64 bits are strings. A call that creates or acts ",
            "may be repeated with the same `Idempotency-Key`.",
        )
        .to_owned(),
        headers: vec![
            RequestHeader {
                name: "Idempotency-Key",
                description: "Names the request: sent again with the same key and the same body, it is \
                              done once, and answered with what became of it.",
                pattern: "^[!-~]{1,128}$",
                is_of: |route| KEYED.contains(&route.method.as_str()),
            },
            RequestHeader {
                name: "Prefer",
                description: "`wait=N`: the answer comes when the outcome is known, or after N seconds, \
                              20 at the most.",
                pattern: "^wait=[0-9]{1,4}$",
                is_of: |route| WAITING.contains(&route.method.as_str()),
            },
        ],
        wants_token,
    });
    format!("{document:#}\n")
}

/// `/openapi.json`, `/docs` and what the page needs.
pub(crate) fn routes(transcoder: &Transcoder) -> Router {
    let json = axum::body::Bytes::from(document(transcoder));
    Router::new()
        .route(
            "/openapi.json",
            get(async move || ([(header::CONTENT_TYPE, "application/json")], json)),
        )
        .route(
            "/docs",
            get(async || ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE))),
        )
        .route(
            "/docs/start.js",
            get(async || {
                (
                    [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
                    START,
                )
            }),
        )
        .route(
            swagger_ui!("swagger-ui-bundle.js"),
            get(async || packed("text/javascript; charset=utf-8", SCRIPT)),
        )
        .route(
            swagger_ui!("swagger-ui.css"),
            get(async || packed("text/css; charset=utf-8", STYLE)),
        )
}

/// A file of a page. Every browser takes gzip; nobody else asks for these.
pub(crate) fn packed(kind: &'static str, bytes: &'static [u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_ENCODING, "gzip"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, bytes).into_response()
}
