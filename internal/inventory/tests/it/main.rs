//! Inventory on a real PostgreSQL.

mod commands;
mod fixture;
mod requests;
