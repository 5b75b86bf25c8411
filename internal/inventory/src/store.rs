//! The only room with SQL.

mod batch;
mod movements;
mod reservations;
mod stock;
mod waits;

pub(crate) use batch::{lock, write};
pub(crate) use movements::{Movement, insert_movement, movement_of_request};
pub(crate) use reservations::reservation;
pub(crate) use stock::{adjust, list, lock_one, lock_or_make, open, stock};
pub(crate) use waits::{dequeue, enqueue, waiting};
