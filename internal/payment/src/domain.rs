#![warn(clippy::wildcard_enum_match_arm)]

mod book;
mod command;
mod ledger;
mod payment;
mod reason;
mod refund;
mod wallet;

pub(crate) use book::{Book, Decision, Request};
pub(crate) use command::{Command, Method};
pub(crate) use ledger::Transfer;
pub(crate) use payment::{Back, Event, Payment, Source, State};
pub(crate) use reason::Reason;
pub(crate) use refund::{Asked, Refund, RefundState, Requester};
pub(crate) use wallet::{UserEvent, Wallet};
