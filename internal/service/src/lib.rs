//! One harness for every process: arguments, tasks, health and graceful shutdown.
//!
//! Purpose: a service is a function from a [`Context`] to running tasks; everything around it is
//! here, once. A process hosts one service, several, or (in `palinode dev`) all of them.
//! Rooms: `config` (the only reader of the environment), `services` (names, ports, databases),
//! `tasks`, `readiness`, `context`, `process`, `relay` (as a service of its own).
//! Invariants: every task runs under [`Tasks`]; a process ends with 0 only when it was asked to.
//! Not here: what any service does.

/// Records, rows and headers are many small pieces that one thread makes and another frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod config;
mod context;
mod identity;
mod process;
mod readiness;
mod relay;
mod services;
mod tasks;

pub use config::{
    Broker, Config, ConfigError, DatabaseUrl, LogStyle, NamedDatabase, Peers, PlanVersion,
    RelayMode, Secret,
};
pub use context::{Context, Opening, Shared, StartError, bind};
pub use process::{Part, main, run_process};
pub use readiness::{Condition, Readiness};
pub use relay::build as build_relay;
pub use services::{SERVICES, ServiceSpec, service};
pub use tasks::{StillRunning, TaskFailure, Tasks};
