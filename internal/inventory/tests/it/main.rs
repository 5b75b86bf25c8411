//! Inventory on a real PostgreSQL.

mod commands;
mod fixture;
mod queue;
mod requests;
mod restock;
