//! Shipments.
//!
//! Purpose: books a carrier for an order, as its saga asks, and shows what was booked.
//! Owns: the tables `carrier`, `shipment`, `shipment_item`; reads `shipping.commands`, writes
//! `shipping.events`.
//! Rooms: `domain` (rules), `app` (use cases), `store` (SQL), `convert` (messages), `consumers`
//! (commands of sagas), `rpc` (requests), `wiring`.
//! Invariants: one shipment an order; a shipment names the carrier that was booked for it, also
//! when the country gets another one later. To arrange shipping is the pivot of its saga: nothing
//! here takes it back.
//! Not here: where an order comes from, and who paid for it.

mod app;
mod consumers;
mod convert;
mod domain;
mod rpc;
mod store;
mod wiring;

pub use wiring::{build, participant, rpc};
