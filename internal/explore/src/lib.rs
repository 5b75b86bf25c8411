//! Explores every failure path of a plan, exhaustively, in a simulated world.
//!
//! Purpose: a plan is data, so all that can become of it can be looked at before it runs. The
//! engine ([`palinode_saga::next`]) and the guard ([`palinode_saga::guard::decide`]) are those of
//! production; participants, broker, clock and crashes are values.
//! Rooms: `fault` (what can go wrong, and where), `world` (what is, and what can happen next),
//! `judge` (what must hold), `search` (breadth first over all of it), `report`.
//! Invariants: no I/O, no clock, no randomness; a fault that was planned and not reached is
//! reported; the first counterexample has the fewest faults and the shortest schedule.
//! Not here: real processes, PostgreSQL and Kafka.

mod fault;
mod judge;
mod moves;
mod mutant;
mod report;
mod search;
mod world;

pub use fault::{Fault, Leg, Site};
pub use judge::{Invariant, Violation};
pub use mutant::Mutant;
pub use report::{Ending, Report};
pub use search::{Explorer, explore};
