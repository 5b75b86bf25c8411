//! Accounts, sessions, and the keys that tokens are signed with.
//!
//! Purpose: the one place that knows passwords, and the only one that makes tokens.
//! Owns: the tables `account`, `registration`, `session`, `sign_in_failure`, `signing_key`; the topic
//! `identity.events`.
//! Rooms: the usual ones, and `config`.
//! Invariants: a role is never what somebody has asked for himself; there is an administrator as soon
//! as there has been one; a refresh token that was used before ends its session; no password and no
//! secret is written to a log, an event or an answer.
//! Not here: who may call a method (the protos say it, `auth` reads it), and what others keep of a user.

mod app;
mod config;
mod convert;
mod domain;
mod rpc;
mod store;
#[cfg(test)]
mod tests;
mod wiring;

pub use app::{Failed, Mint, Seed, seed};
pub use wiring::build;
