//! Places orders and starts their sagas.
//!
//! Owns: the tables of `migrations/order`; writes `orchestrator.commands` (the start of a saga) and
//! `order.events`; reads `order.commands`, `identity.events` and `catalog.events`.
//! Rooms: `domain` (orders, carts, quotes and their rules), `app` (place, quote, cart, decide,
//! sweep, forget), `store` (SQL), `convert`, `rpc`, `consumers`, `wiring`.
//! Invariants: an order, its lines, its guard row, its idempotency key, the start of its saga, and
//! the end of the cart or the quote that it is of are committed together; a price never comes from
//! the client; a decided order never changes, but for what identifies a user who was deleted: of an
//! order that is over it is taken out.
//! Not here: stock, money and shipments.

mod app;
mod clients;
mod consumers;
mod convert;
mod domain;
mod rpc;
mod store;
mod wiring;

pub use domain::Product;
pub use store::product::seed;
pub use wiring::{build, rpc};
