//! The whole platform in one process, on real PostgreSQL and a broker.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests read every service's database, and a test that cannot go on fails"
)]

mod bench;
mod browser;
mod cancel;
mod catalog;
mod conformance;
mod deletion;
mod flow;
mod graphql;
mod identity;
mod invariants;
mod isolation;
mod once;
mod outbox;
mod rig;
mod starters;
mod verbs;
mod walk;
