use palinode_values::{Money, UserId};

/// The wallet of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wallet {
    /// With its balance.
    Open(Money),
    /// Its user was deleted: it holds nothing, and never will. The end; its row stays, so that nobody
    /// opens it again.
    Closed,
}

/// What wallets hear of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserEvent {
    Registered(UserId),
    Deleted(UserId),
}
