//! Runs sagas: the engine on PostgreSQL.
//!
//! Owns: the tables of `migrations/saga`; reads the topics `orchestrator.commands` and
//! `orchestrator.replies`; writes `<participant>.commands` and `orchestrator.events`.
//! Rooms: `plans` (what is run), `runner` (a batch of inputs is one transaction; timers),
//! `store` (SQL), `convert` (wire to engine and back), `rpc` (what operators read), `wiring`.
//! Invariants: a saga changes only through [`palinode_saga::next`]; state, history and outbox rows
//! are committed together; a live saga always has a wake-up.
//! Not here: what a step does (participants).

mod convert;
mod plans;
mod rpc;
mod runner;
mod store;
mod wiring;

pub use plans::{
    all as plans, cancel_order, current as current_plans, place_order_1, place_order_2,
};
pub use rpc::stepper::Stepper;
pub use runner::registry::{DescriptorSchema, RegistryError};

pub use wiring::build;
