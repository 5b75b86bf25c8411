//! Shipments.
//!
//! Purpose: tells sagas who would deliver, books a carrier for an order, and calls its parcel back;
//! hands parcels over and shows them, as people ask.
//! Owns: the tables `carrier`, `shipment`, `shipment_item`; reads `shipping.commands`, writes
//! `shipping.events`.
//! Rooms: `domain` (rules), `app` (use cases), `store` (SQL), `convert` (messages), `consumers`
//! (commands of sagas), `rpc` (requests), `wiring`.
//! Invariants: one shipment an order; a shipment names the carrier that was booked for it, also
//! when the country gets another one later. A parcel is handed over or called back, never both: the
//! row decides. To arrange and to recall are pivots of their sagas: nothing here takes them back.
//! Not here: where an order comes from, and who paid for it.

mod app;
mod consumers;
mod convert;
mod domain;
mod rpc;
mod store;
mod wiring;

pub use wiring::{build, participant, rpc};
