//! Stock and reservations.
//!
//! Purpose: holds stock for orders, gives it back or sells it, and puts what was sold back on the
//! shelf, as sagas ask; lets people look at stock and adjust it. A product that is created gets a row.
//! Owns: the tables `stock`, `movement`, `reservation`, `reservation_line`, `reservation_wait`; reads
//! `inventory.commands` and `catalog.events`, writes `inventory.events`.
//! Rooms: `domain` (rules), `app` (use cases), `store` (SQL), `convert` (messages), `consumers`
//! (commands of sagas, events of the catalogue), `rpc` (requests), `wiring`.
//! Invariants: for each SKU, the sum of its movements = available + held + sold, and none of the
//! three is below 0. A reservation holds all of its lines or is not there. Only the saga that made
//! a reservation ends the hold, and nothing else does: no timer. A sale is taken back once.
//! Not here: products and prices.

mod app;
mod consumers;
mod convert;
mod domain;
mod rpc;
mod store;
mod wiring;

pub use app::{Granted, SeedError, grant, seed};
pub use wiring::{build, participant, products, rpc};
