//! Who calls, and what he may: tokens, the keys they are verified with, and the rule of each method.
//!
//! Purpose: one meaning of "signed in", "his own" and "may" for every service.
//! Rooms: `access` (rules, from the protos), `caller` (who was let in), `key` (signs), `verifier`
//! (verifies), `role`.
//! Invariant: a method without a rule is served to nobody, and nothing but a signature of identity's
//! makes a principal: no header that a gateway has set.
//! Not here: who fetches keys, and how a refusal looks on the wire (`rpc`, `service`).

mod access;
mod caller;
mod key;
mod role;
mod verifier;

pub use access::{Access, Denied, Rules, Unruled};
pub use caller::{Caller, Principal};
pub use key::{Grant, KeyError, Signer};
pub use role::{Role, UnknownRole};
pub use verifier::{Refused, Verifier};

/// `iss` of every token.
pub const ISSUER: &str = "palinode.identity";
/// `aud` of every token.
pub const AUDIENCE: &str = "palinode";
