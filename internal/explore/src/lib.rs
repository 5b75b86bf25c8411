//! Explores every failure path of a plan, exhaustively, in a simulated world.
//!
//! Purpose: a plan is data, so all that can become of it can be looked at before it runs. The
//! engine ([`palinode_saga::next`]) and the guard ([`palinode_saga::guard::decide`]) are those of
//! production; participants, broker, clock and crashes are values.
//! Invariants: no I/O, no clock, no randomness but a seed's; a fault that was planned and not
//! reached is reported; the first counterexample has the fewest faults and the shortest schedule.
//! Not here: real processes, PostgreSQL and Kafka.
mod explorer;
mod fault;
mod judge;
mod moment;
mod moves;
mod mutant;
mod participant;
mod random;
mod recovery;
mod replay;
mod report;
mod run;
mod scenario;
mod schedule;
mod script;
mod search;
mod view;
mod wire;
mod world;

pub use explorer::{Explorer, explore};
pub use fault::{Fault, Faults, Leg, Site};
pub use judge::{Invariant, Violation};
pub use mutant::Mutant;
pub use participant::Mood;
pub use random::RandomRun;
pub use replay::{Frame, FrameStep, Replay};
pub use report::{Ending, Path, Report, Tried, Verdict};
pub use run::{Recovered, Run, every_crash_point, fail_each_step, repeat_each_step};
pub use scenario::{Count, Part, Scenario, Unknown, count};
pub use schedule::Schedule;
pub use script::{Action, Move, Script, Snapshot};
pub use view::View;
pub use world::World;
