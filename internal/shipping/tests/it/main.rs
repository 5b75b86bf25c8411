//! Shipping on a real PostgreSQL.

mod carriers;
mod fixture;
mod plans;
mod recalls;
mod shipments;
