//! Shipping on a real PostgreSQL.

mod carriers;
mod fixture;
mod recalls;
mod shipments;
