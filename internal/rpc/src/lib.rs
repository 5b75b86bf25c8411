//! gRPC: channels, the server's layers, and the one mapping of errors to a status.
//!
//! Purpose: every service is served and called in the same way, and its refusals look alike.
//! Rooms: `status` (errors out), `failure` (errors in), `violations` (wrong fields), `request`
//! (what a handler reads from a request, and adds to an answer), `authorizer` (who is let in), `rate` (how many
//! requests a caller may make), `server`, `channel`,
//! `credentials` (what a service says of itself).
//! Invariant: nothing else makes a [`tonic::Status`] (of a request that its proto forbids the codec of
//! `pb` makes one, and [`Server`] another one of that); of an internal failure the caller learns fixed
//! words and a trace id.
//! Not here: what any method does.

mod authorizer;
mod channel;
mod credentials;
mod failure;
mod rate;
mod request;
mod server;
mod status;
mod violations;

pub use authorizer::Authorizer;
pub use channel::{Channel, channel, channel_without_limit, traced};
pub use credentials::Credentials;
pub use failure::{Failure, error_code};
pub use palinode_auth::Unruled;
pub use rate::{Buckets, Counted};
pub use request::{
    WAIT_LIMIT, accepted, call_of, caller, created, idempotency_key, trace_context,
    wait_preference, waited,
};
pub use server::{Door, Health, Limits, ServeError, Server};
pub use status::{Details, status, status_with};
pub use tonic::Code;
pub use violations::{Violation, Violations};
