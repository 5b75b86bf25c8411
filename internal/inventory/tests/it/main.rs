//! Inventory on a real PostgreSQL.

mod commands;
mod fixture;
mod plans;
mod products;
mod queue;
mod requests;
mod restock;
