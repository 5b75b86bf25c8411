//! Products and their categories.
//!
//! Purpose: what the shop has, for everybody to look through, and for administrators to change.
//! Owns: the tables `product`, `category`, `creation`; the topic `catalog.events`.
//! Rooms: the usual ones.
//! Invariants: each change of a product raises its revision and appends its event, in one transaction;
//! a SKU names one product for ever, a deleted one too; whatever is searched for is no error.
//! Not here: how much there is of a product (inventory), and what it was sold for (order).

mod app;
mod convert;
mod domain;
mod rpc;
mod store;
#[cfg(test)]
mod tests;
mod wiring;

pub use app::{Failed, Seed, SeedCategory, product_id_of, seed};
pub use wiring::build;
