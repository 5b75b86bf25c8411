//! Shipping on a real PostgreSQL.

mod fixture;
mod shipments;
