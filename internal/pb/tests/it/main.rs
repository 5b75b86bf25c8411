//! The rules of requests: those of our protos, and every kind of them.

mod limits;
mod rules;
mod unsupported;

/// What the build wrote for `tests/rules.proto`.
#[expect(clippy::all, reason = "generated code")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/tests/contracts.rs"));
    include!(concat!(env!("OUT_DIR"), "/tests/validation.rs"));
}
