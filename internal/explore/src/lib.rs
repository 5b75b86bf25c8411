//! Explores every failure path of a plan, exhaustively, in a simulated world.
//!
//! Purpose: a plan is data, so all that can become of it can be looked at before it runs. The
//! engine ([`palinode_saga::next`]) and the guard ([`palinode_saga::guard::decide`]) are those of
//! production; participants, broker, clock and crashes are values.
//! Rooms: `fault` (what can go wrong, and where), `scenario` (each by its name), `moment`,
//! `participant` and `wire` (what is, and what can happen next), `judge` (what must hold),
//! `search` (breadth first over all of it), `explorer`, `run` and `world` (what a team asks),
//! `random`, `replay`, `recovery`, `migration`, `mutant` (planted bugs), `seen`; `shared/` (several
//! sagas on the same rows).
//! Invariants: no I/O, no clock, no randomness but a seed's; a fault that was planned and not
//! reached is reported; the first counterexample has the fewest faults and the shortest schedule.
//! Not here: real processes, PostgreSQL and Kafka.
//!
//! # Testing a plan of your own
//!
//! It takes a plan and nothing else: no database, no broker, no runtime.
//!
//! ```
//! use palinode_explore::{Fault, Faults, explore};
//! use palinode_explore::{every_crash_point, fail_each_step, repeat_each_step};
//! use palinode_saga::{Plan, PlanErrors, secs, step};
//! # #[derive(Clone, PartialEq, prost::Message)] struct Book {}
//! # impl prost::Name for Book { const PACKAGE: &'static str = "t"; const NAME: &'static str = "B"; }
//! # type Cancel = Book; type BookHotel = Book; type CancelHotel = Book; type TakeMoney = Book;
//!
//! fn book_hotel() -> Result<Plan, PlanErrors> {
//!     Plan::new("book-hotel", 1)
//!         .input::<Book>()
//!         .deadline(secs(60))
//!         .cancellable()
//!         .opened_by(step("open").at("trips").undo::<Cancel>().token("trip"))
//!         .step(
//!             step("hotel")
//!                 .at("hotels")
//!                 .after(["open"])
//!                 .compensatable::<BookHotel, CancelHotel>()
//!                 .token("booking"),
//!         )
//!         .step(step("money").at("bank").after(["hotel"]).pivot::<TakeMoney>().token("money"))
//!         .build()
//! }
//! let plan = book_hotel()?;
//!
//! // every fault, two at a time, at every place and in every order of messages
//! let report = explore(&plan).run();
//! assert!(report.is_good(), "{report:#?}");
//! let ends: Vec<&str> = report.endings.keys().copied().collect();
//! assert_eq!(ends, [
//!     "compensated", "completed", "needs-attention: backward", "needs-attention: undecided",
//! ]);
//!
//! // an invariant of your own, asked after every event; and only some faults
//! let report = explore(&plan)
//!     .faults(Faults::all().without([Fault::Hold]))
//!     .invariant("no-money-without-a-room", |view| {
//!         if view.is_there("money") && !view.is_there("hotel") {
//!             Err("we have taken money for nothing".to_owned())
//!         } else {
//!             Ok(())
//!         }
//!     })
//!     .run();
//! // with fewer faults there are moves that nothing makes: that is no harm
//! assert!(report.is_safe(), "{report:#?}");
//!
//! // crash after every durable write, and again in recovery; read the state again everywhere
//! every_crash_point(&plan, 2);
//! // each step fails alone; each command is handled twice
//! fail_each_step(&plan, |run| run.assert_failed_at_the_step());
//! repeat_each_step(&plan, |run| run.assert_same_effects());
//! # Ok::<(), PlanErrors>(())
//! ```
//!
//! Each of them fails when a fault that it planned was never reached: a test that does not meet
//! its fault shows nothing. [`World`] goes through one saga by hand, with a virtual clock;
//! [`Explorer::random`] draws long runs with many faults; [`Explorer::replay`] shows one scenario
//! moment by moment.
#![warn(clippy::missing_errors_doc)]

mod explorer;
mod fault;
mod judge;
mod migration;
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
mod seen;
mod shared;
mod view;
mod wire;
mod world;

pub use explorer::{Explorer, explore};
pub use fault::{Fault, Faults, Leg, Site};
pub use judge::{Invariant, Violation};
pub use migration::{Migration, Reachable};
pub use mutant::Mutant;
pub use participant::{Mood, Ruling};
pub use random::RandomRun;
pub use replay::{Frame, FrameStep, Replay};
pub use report::{Ending, Path, Report, Tried, Verdict};
pub use run::{Recovered, Run, every_crash_point, fail_each_step, repeat_each_step};
pub use scenario::{Count, Part, Scenario, Unknown, count};
pub use schedule::Schedule;
pub use script::{Action, Move, Script, Snapshot};
pub use seen::{Check, Forced, SEEN, Seen};
pub use shared::{Shared, SharedReport, SharedRun};
pub use view::View;
pub use world::World;
