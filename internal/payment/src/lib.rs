//! Wallets, card charges and the double-entry ledger.
//!
//! Purpose: takes the money of an order, and gives it back. A wallet is charged in the transaction
//! of the command; a card by a call to the card processor after it, settled by a second one. A wallet is
//! opened when its user is registered, and closed when he is deleted.
//! Owns: the tables `wallet`, `wallet_credit`, `payment`, `ledger_entry`, `card_intent`; the topic
//! `payment.events`. Reads `payment.commands` and `identity.events`.
//! Rooms: the usual ones, and `calls`, the loop that calls the card processor.
//! Invariants: the entries of each transfer sum to zero; a wallet's balance is the sum of its
//! entries and never below zero; a closed one holds nothing and stays closed; a payment changes only from the state it is expected to be in; no
//! lock and no transaction spans a call; an intent is written before its call, and deleted by the
//! transaction that writes its outcome.
//! Not here: prices and totals (order), cards (the processor knows them, we keep its token).

mod app;
mod calls;
mod clients;
mod config;
mod consumers;
mod convert;
mod domain;
mod rpc;
mod store;
#[cfg(test)]
mod tests;
mod wiring;

pub use app::seed;
pub use store::audit::audit;
pub use wiring::{build, participant};
