//! Stacks, the demo and the invariants it is judged by.
//!
//! Purpose: puts the whole platform together, in one process or as processes of its own, on
//! servers that are given, found or started; runs orders through it and says whether everything
//! that must hold does.
//! Rooms: `backing` (PostgreSQL and Kafka), `prepare` (databases, topics), `seed` (the demo
//! catalogue), `stack` (all services in this process), `fleet` (each in a process of its own),
//! `dev` and `local` (what the tool runs), `gateway` (a client), `passes` (its tokens), `session` (of the person at the tool), `invariants`, `demo/`; `sagas` and
//! `outbox` (what operators ask and do); `plans`, `samples` and `atlas` (what can become of a plan).
//! Invariants: what is started here ends with its owner; only throw-away databases get triggers.
//! Not here: command lines (`cmd/palinode`), launchers of servers (`testkit`).

pub mod atlas;
mod backing;
pub mod bench;
pub mod conformance;
pub mod demo;
pub mod dev;
mod fleet;
mod gateway;
pub mod invariants;
pub mod local;
pub mod outbox;
pub mod passes;
pub mod plans;
mod prepare;
pub mod sagas;
pub mod samples;
pub mod seed;
pub mod session;
mod signals;
mod stack;

pub use backing::{Backing, BackingOptions, KafkaChoice};
pub use fleet::{Fleet, FleetOptions};
pub use gateway::{Answer, Gateway};
pub use prepare::{migrate, server_of};
pub use signals::Signals;
pub use stack::{GatewayPort, Ports, Stack, StackOptions, Tracing, part};
