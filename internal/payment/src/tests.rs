//! On a real PostgreSQL, and a card processor that listens on the loopback.

mod cards;
mod fixture;
mod plans;
mod refunds;
mod requests;
mod returns;
mod users;
mod wallets;
