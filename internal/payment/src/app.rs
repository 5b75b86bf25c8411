mod credit_wallet;
mod error;
mod follow_users;
mod run_commands;
mod seed;
mod settle_cards;

pub(crate) use credit_wallet::credit_wallet;
pub(crate) use error::Error;
pub(crate) use follow_users::follow_users;
pub(crate) use run_commands::{expected, run_commands};
pub use seed::seed;
pub(crate) use settle_cards::{Answered, settle_cards};
