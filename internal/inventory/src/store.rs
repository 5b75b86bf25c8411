//! The only room with SQL.

mod movements;
mod reservations;
mod stock;
mod waits;

pub(crate) use movements::{Movement, insert_movement, movement_of_request};
pub(crate) use reservations::{insert, lock_of_orders, move_on, reservation};
pub(crate) use stock::{adjust, apply, list, lock, lock_or_make, stock};
pub(crate) use waits::{dequeue, enqueue, waiting};
