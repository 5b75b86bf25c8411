//! A simulated external card processor.
//!
//! Purpose: an outside system as a real one behaves: it keeps records and idempotency keys of its
//! own, commits by itself, and knows nothing of sagas.
//! Owns: the table `processed` in a database without the platform's tables. No topics.
//! Rooms: `domain` (what is approved), `store`, `app`, `convert`, `rpc`, `wiring`.
//! Invariants: one record a key, whatever is repeated or raced, and only a refund that was declined
//! is ever decided anew; a charge is paid back once.
//! Not here: cards. A token tells the outcome.

mod app;
mod convert;
mod domain;
mod rpc;
mod store;
mod wiring;

pub use rpc::service;
pub use wiring::build;
