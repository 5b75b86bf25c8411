mod credit_wallet;
mod error;
mod follow_users;
mod refund_payment;
mod run_commands;
mod seed;
mod settle_cards;

pub(crate) use credit_wallet::credit_wallet;
pub(crate) use error::Error;
pub(crate) use follow_users::follow_users;
pub(crate) use refund_payment::{Desk, refund_payment};
pub(crate) use run_commands::{expected, run_commands};
pub use seed::seed;
pub(crate) use settle_cards::{Answered, settle_cards};

/// As whose events are published.
pub(crate) const SERVICE: &str = "payment";

/// A record that does not fit into the outbox, as the database's fault: nothing may be committed.
fn unsayable(error: palinode_outbox::Error) -> palinode_db::Error {
    match error {
        palinode_outbox::Error::Db(error) => error,
        other => palinode_db::Error::inconsistent("outbox", "payload", "refund", other),
    }
}
