//! The participant guard: every effect once, whatever the broker repeats.
//!
//! Purpose: [`Participant`] takes a batch of commands, asks `palinode_saga::guard` what becomes of
//! each, lets the service's [`Handler`] do what is left, and writes guard rows, replies and events
//! in that one transaction. [`settle`] writes the outcome of what had to wait for an external
//! call. [`Inbox`] takes the events of others, a batch in one transaction; its [`EventHandler`] bears
//! repeats and any order by itself.
//! Owns: the tables `saga_guard` and `consumer_parked` in the service's own database.
//! Invariants: one effect at the most for each saga, step and direction; an action that comes after
//! its compensation is refused; a reply is appended only under the lock of its guard row. Nothing
//! here calls the network.
//! Not here: what a command does (the service), and how records arrive (messaging).
//!
//! ```
//! use palinode_db::{Error, Tx};
//! use palinode_participant::{Decided, Handler, Outcome, Task, Undecodable};
//! use palinode_saga::Direction;
//! use palinode_values::Timestamp;
//!
//! /// Takes notes, which costs nothing to take back.
//! struct Notes;
//!
//! impl Handler for Notes {
//!     type Command = String;
//!
//!     fn decode(&self, kind: &str, body: &bytes::Bytes) -> Result<String, Undecodable> {
//!         match kind {
//!             "notes.v1.Take" => Ok(String::from_utf8_lossy(body).into_owned()),
//!             _ => Err(Undecodable(format!("{kind} is no command of notes"))),
//!         }
//!     }
//!
//!     async fn handle(
//!         &self,
//!         tx: Tx,
//!         tasks: &[Task<'_, String>],
//!         _now: Timestamp,
//!     ) -> Result<(Tx, Vec<Decided>), Error> {
//!         // one statement for all of them would stand here, in `tx`
//!         let decided = tasks.iter().map(|task| match task.direction {
//!             Direction::Forward => Decided::quietly(Outcome::Done { output: None }),
//!             Direction::Backward => Decided::quietly(Outcome::Undone),
//!         });
//!         Ok((tx, decided.collect()))
//!     }
//! }
//! ```
#![warn(clippy::missing_errors_doc)]

mod batch;
mod command;
mod error;
mod handler;
mod inbox;
mod opened;
mod outgoing;
mod reply;
mod row;
mod settle;
mod spans;
mod store;
mod waves;

pub use batch::Participant;
pub use handler::{Decided, Event, Handler, Outcome, Output, Task, Undecodable, decoded, step_key};
pub use inbox::{EventHandler, Inbox};
pub use opened::opened;
pub use settle::{Settled, Settlement, lock_pending, settle};
pub use store::park;
