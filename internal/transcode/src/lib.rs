//! REST from the `google.api.http` annotations of a descriptor set, at run time.
//!
//! # Purpose
//! A [`Transcoder`] reads the annotations of gRPC methods from a descriptor pool and serves them
//! as HTTP and JSON, by calling the services. The protos are the only source of routes: nothing is
//! generated, nothing is written twice.
//!
//! ```
//! use prost_reflect::DescriptorPool;
//! use palinode_transcode::{BuildError, Transcoder};
//!
//! fn edge(
//!     pool: DescriptorPool,
//!     orders: tonic::transport::Channel,
//! ) -> Result<axum::Router, BuildError> {
//!     let transcoder = Transcoder::builder(pool)
//!         .service("shop.v1.OrderService", orders)
//!         .body_limit(64 * 1024)
//!         .status_from_metadata(http::HeaderName::from_static("x-http-code"))
//!         .build()?;
//!     Ok(transcoder.router())
//! }
//! # assert!(Transcoder::builder(DescriptorPool::new()).build().is_ok());
//! ```
//!
//! # Rooms
//! - `annotations`, `template`, `binding`: a method's rule, its path, both checked against the
//!   messages. `builder` puts them into the `trie`.
//! - `uri`, `field`, `json`, `request`: from path, query and body to a message; `answer`: from the bytes of
//!   one to JSON.
//! - `transcoder`, `codec`: one request on its way; `accept`, `stream`, `raw`: answers that are not
//!   one JSON object. `problem`, `status`, `rpc_details`: its errors.
//! - `openapi`: the document of all routes.
//!
//! # Invariants
//! - A request that is not understood completely reaches no service: an unknown field, parameter or
//!   body is an error that names it.
//! - What is in the path is what the service gets.
//! - Headers cross only by name, in both directions.
//! - Of an internal failure the client learns a trace id and nothing else.
//!
//! # Not here
//! Authentication, rates, CORS, compression: layers around the router. Streams of requests, which
//! HTTP and JSON do not have: a method with one that is annotated is an error.
#![warn(clippy::missing_errors_doc)]

mod accept;
mod annotations;
mod answer;
mod binding;
mod builder;
mod codec;
mod field;
mod json;
mod openapi;
mod problem;
mod raw;
mod request;
mod rpc_details;
mod status;
mod stream;
mod template;
mod transcoder;
mod trie;
mod uri;

pub use binding::Route;
pub use builder::{BuildError, Builder};
pub use openapi::{ApiInfo, RequestHeader};
pub use problem::{FieldError, Problem};
pub use status::StatusRule;
pub use template::TemplateError;
pub use transcoder::{MatchedRoute, Transcoder, trace_id};
