//! The edge: REST and GraphQL.
//!
//! Purpose: one HTTP address for all services. The routes are those of the protos' annotations, and GraphQL
//! calls the same services; errors are problem details; every answer says which trace it belongs to.
//! Owns: no tables, no topics, no state.
//! Rooms: `wiring` (and `tls`); `http/`: `router` (the routes that are not in a proto), `docs` (the API's
//! description), `errors` (codes and their pages), `layers` (headers of every answer), `rate` (how many requests a
//! caller may make), `cors` (pages of other origins); `graphql/`: `schema` (the operations), `types`, `convert`,
//! `loaders` (many questions as one call), `limits` (what a document may cost), `errors`, `serve` (over HTTP), `page`
//! (to try it); `clients` (calls of services, for GraphQL).
//! Invariants: a request that is not understood completely reaches no service; what a caller sends
//! crosses only by name; of an internal failure a caller learns a trace id.
//! Not here: what the services do, and who may ask them: they look at the token themselves.

mod clients;
mod graphql;
mod http;
mod wiring;

pub use wiring::build;
