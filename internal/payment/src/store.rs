pub(crate) mod audit;
pub(crate) mod credits;
pub(crate) mod intents;
pub(crate) mod ledger;
pub(crate) mod payments;
pub(crate) mod wallets;
