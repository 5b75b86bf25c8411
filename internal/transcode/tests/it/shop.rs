//! The service under the transcoder: it records what it is called with and answers as told.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, HttpBody};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use palinode_transcode::{Builder, Transcoder};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::{Value as Json, json};
use tokio_stream::StreamExt as _;
use tonic::Status;
use tower::ServiceExt;

pub(crate) const SERVICE: &str = "shop.v1.ShopService";

/// The `.proto` files beside this test, and one more that a test gives.
struct Sources(Option<(&'static str, String)>);

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let source = match (name, &self.0) {
            ("google/api/annotations.proto", _) => {
                include_str!("../proto/google/api/annotations.proto")
            }
            ("google/api/httpbody.proto", _) => {
                include_str!("../proto/google/api/httpbody.proto")
            }
            ("google/api/http.proto", _) => include_str!("../proto/google/api/http.proto"),
            ("shop/v1/shop.proto", _) => include_str!("../proto/shop/v1/shop.proto"),
            ("buf/validate/validate.proto", _) => {
                include_str!("../../../../proto/third_party/buf/validate/validate.proto")
            }
            (name, Some((own, source))) if name == *own => source,
            _ => return Err(protox::Error::file_not_found(name)),
        };
        File::from_source(name, source)
    }
}

/// Compiles the shop, or a file of a test's own.
pub(crate) fn pool(own: Option<(&'static str, String)>) -> DescriptorPool {
    let name = own.as_ref().map_or("shop/v1/shop.proto", |(name, _)| name);
    let mut resolver = ChainFileResolver::new();
    resolver.add(Sources(own));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file(name)
        .unwrap();
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}

/// One call as the service saw it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// Proto3 JSON without defaults.
    pub(crate) message: Json,
    pub(crate) headers: HeaderMap,
}

#[derive(Clone)]
enum Answer {
    Json(Json, HeaderMap),
    /// And how it ends; `None`: it does not.
    Stream(Vec<Json>, Option<Status>),
    Status(Status),
    Silence,
}

/// Cheap to clone; all clones record into one list.
#[derive(Clone)]
pub(crate) struct Shop {
    pool: DescriptorPool,
    calls: Arc<Mutex<Vec<Call>>>,
    answer: Arc<Mutex<Answer>>,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self {
            pool: pool(None),
            calls: Arc::default(),
            answer: Arc::new(Mutex::new(Answer::Json(json!({}), HeaderMap::new()))),
        }
    }

    pub(crate) fn answers(&self, json: Json) {
        self.answers_with(json, &[]);
    }

    pub(crate) fn answers_with(&self, json: Json, metadata: &[(&'static str, &str)]) {
        let metadata = metadata.iter().map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        *self.answer.lock().unwrap() = Answer::Json(json, metadata.collect());
    }

    pub(crate) fn fails(&self, status: Status) {
        *self.answer.lock().unwrap() = Answer::Status(status);
    }

    /// Sends these messages, and then this status; `None`: nothing more, and no end.
    pub(crate) fn streams(&self, messages: &[Json], end: Option<Status>) {
        *self.answer.lock().unwrap() = Answer::Stream(messages.to_vec(), end);
    }

    pub(crate) fn hangs(&self) {
        *self.answer.lock().unwrap() = Answer::Silence;
    }

    /// The only call since the last look.
    pub(crate) fn only_call(&self) -> Call {
        let mut calls = self.calls.lock().unwrap();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.remove(0)
    }

    pub(crate) fn was_not_called(&self) {
        let calls = self.calls.lock().unwrap();
        assert!(calls.is_empty(), "{calls:?}");
    }

    /// A transcoder over this service in the same process.
    pub(crate) fn edge(&self) -> Edge {
        self.edge_with(|builder| builder)
    }

    pub(crate) fn edge_with(&self, options: impl FnOnce(Builder) -> Builder) -> Edge {
        let shop = self.clone();
        let service = tower::service_fn(move |request: Request<tonic::body::Body>| {
            let shop = shop.clone();
            async move { Ok::<_, std::convert::Infallible>(shop.call(request).await) }
        });
        let builder = Transcoder::builder(self.pool.clone()).service(SERVICE, service);
        Edge(options(builder).build().unwrap().router())
    }

    pub(crate) fn pool(&self) -> DescriptorPool {
        self.pool.clone()
    }

    /// Answers one gRPC request.
    pub(crate) async fn call<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: std::fmt::Debug,
    {
        let (parts, body) = request.into_parts();
        let (_, method) = parts.uri.path().rsplit_once('/').unwrap();
        let service = self.pool.get_service_by_name(SERVICE).unwrap();
        let method = service
            .methods()
            .find(|known| known.name() == method)
            .unwrap();
        let frame = body.collect().await.unwrap().to_bytes();
        let message = DynamicMessage::decode(method.input(), frame.slice(5..)).unwrap();
        self.calls.lock().unwrap().push(Call {
            method: method.name().to_owned(),
            message: serde_json::to_value(&message).unwrap(),
            headers: parts.headers,
        });
        let answer = self.answer.lock().unwrap().clone();
        let frame_of = |json: Json| {
            let message = DynamicMessage::deserialize(method.output(), json).unwrap();
            let mut frame = BytesMut::new();
            frame.put_u8(0);
            frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
            message.encode(&mut frame).unwrap();
            frame.freeze()
        };
        let (json, metadata) = match answer {
            Answer::Json(json, metadata) => (json, metadata),
            Answer::Stream(messages, end) => {
                let frames = messages.into_iter().map(frame_of).map(Frame::data);
                let mut frames: Vec<_> = frames.map(Ok::<_, std::io::Error>).collect();
                let is_over = end.is_some();
                if let Some(status) = end {
                    let mut trailers = HeaderMap::new();
                    status.add_header(&mut trailers).unwrap();
                    frames.push(Ok(Frame::trailers(trailers)));
                }
                let sent = tokio_stream::iter(frames);
                let body = if is_over {
                    Body::new(StreamBody::new(sent))
                } else {
                    Body::new(StreamBody::new(sent.chain(tokio_stream::pending())))
                };
                let mut response = Response::new(body);
                let kind = HeaderValue::from_static("application/grpc");
                response.headers_mut().insert("content-type", kind);
                return response;
            }
            Answer::Status(status) => return status.into_http(),
            Answer::Silence => std::future::pending().await,
        };
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        let body = Full::new(frame_of(json)).with_trailers(async { Some(Ok(trailers)) });
        let mut response = Response::new(Body::new(body));
        *response.headers_mut() = metadata;
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", kind);
        response
    }
}

/// The HTTP side.
#[derive(Clone)]
pub(crate) struct Edge(pub(crate) Router);

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: http::Extensions,
    /// Null when the body is empty.
    pub(crate) json: Json,
}

impl Edge {
    pub(crate) async fn get(&self, uri: &str) -> Reply {
        self.send(Method::GET, uri, "").await
    }

    pub(crate) async fn post(&self, uri: &str, body: Json) -> Reply {
        self.send(Method::POST, uri, &body.to_string()).await
    }

    /// Says `application/json` when there is a body.
    pub(crate) async fn send(&self, method: Method, uri: &str, body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(uri);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        self.request(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    /// A GET with this header, answered by something else than one JSON object.
    pub(crate) async fn get_text(&self, uri: &str, header: (&str, &str)) -> (HeaderMap, String) {
        let request = Request::get(uri).header(header.0, header.1);
        let request = request.body(Body::empty()).unwrap();
        let (parts, body) = self.0.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(parts.status, StatusCode::OK, "{body:?}");
        (parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> Reply {
        let (parts, body) = self.0.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let json = match body.is_empty() {
            true => Json::Null,
            false => serde_json::from_slice(&body).unwrap(),
        };
        Reply {
            status: parts.status,
            headers: parts.headers,
            extensions: parts.extensions,
            json,
        }
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem with that status, and gives its body.
    pub(crate) fn problem(&self, status: u16) -> &Json {
        assert_eq!(self.status.as_u16(), status, "{}", self.json);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.json["status"], status);
        &self.json
    }

    /// The wrong fields of a 400 as `name REASON`, in order.
    pub(crate) fn wrong_fields(&self) -> Vec<String> {
        let errors = self.problem(400)["errors"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let text = |json: &Json| json.as_str().unwrap().to_owned();
        errors
            .iter()
            .map(|error| format!("{} {}", text(&error["field"]), text(&error["reason"])))
            .collect()
    }
}

/// A body of which nothing arrives.
pub(crate) fn never() -> Body {
    Body::from_stream(tokio_stream::pending::<
        Result<Bytes, std::convert::Infallible>,
    >())
}

/// A body in pieces, its length not declared.
pub(crate) fn pieces(text: &str) -> Body {
    let pieces: Vec<_> = text
        .as_bytes()
        .chunks(10)
        .map(Bytes::copy_from_slice)
        .collect();
    Body::from_stream(tokio_stream::iter(
        pieces.into_iter().map(Ok::<_, std::io::Error>),
    ))
}
