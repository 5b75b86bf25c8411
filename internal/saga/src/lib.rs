//! The saga plan and the pure engine that interprets it.
//!
//! Purpose: a [`Plan`] is data that is checked when it is built; [`next`] is the only place where
//! a saga changes. The orchestrator, recovery and the tests call that same function.
//! Invariants: [`next`] is total and pure: no I/O, no clock, no randomness, no runtime. A step is
//! owed an undo from the moment it is sent. A timeout means *unknown*, never *failed*.
//! [`guard::decide`] is the participant's half: it refuses a late action after its compensation.
//! Not here: how state is stored (orchestrator) and how messages travel (outbox, relay).
//!
//! ```
//! use palinode_saga::{step, secs, Plan};
//! # #[derive(Clone, PartialEq, prost::Message)] struct Order {}
//! # #[derive(Clone, PartialEq, prost::Message)] struct Reserve {}
//! # #[derive(Clone, PartialEq, prost::Message)] struct Release {}
//! # macro_rules! name { ($t:ident) => { impl prost::Name for $t {
//! #     const PACKAGE: &'static str = "shop"; const NAME: &'static str = stringify!($t); } } }
//! # name!(Order); name!(Reserve); name!(Release);
//! let plan = Plan::new("hold-stock", 1)
//!     .input::<Order>()
//!     .deadline(secs(60))
//!     .step(step("reserve").at("inventory").compensatable::<Reserve, Release>().token("hold"))
//!     .build()?;
//! assert_eq!(plan.steps().len(), 1);
//! # Ok::<(), palinode_saga::PlanErrors>(())
//! ```
#![warn(clippy::missing_errors_doc, clippy::wildcard_enum_match_arm)]

mod direction;
mod engine;
pub mod guard;
mod ledger;
mod migrate;
mod plan;
mod schema;
mod state;
mod time;
mod verb;

pub use direction::{Direction, UnknownDirection};
pub use engine::{Answer, Command, Effect, Ended, Input, Note, Refusal, Transition, next};
pub use ledger::{Entry, Standing, ledger, residue};
pub use migrate::{Unfit, migrate};
pub use plan::{
    Binding, Message, Plan, PlanBuilder, PlanError, PlanErrors, Retry, Source, Step, StepBuilder,
    StepKind, cause_detail, cause_reason, input, output, step,
};
pub use schema::{MessageShape, Schema};
pub use state::{
    Attempt, Cause, Claim, Disposition, Doing, Hold, Need, Resolve, State, Status, StepState, Undo,
    Waits, WaitsFor,
};
pub use time::{DbTime, millis, secs};
pub use verb::{Rule, Verb, accepted};
