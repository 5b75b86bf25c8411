pub(crate) mod audit;
pub(crate) mod batch;
pub(crate) mod credits;
pub(crate) mod intents;
pub(crate) mod payments;
pub(crate) mod refunds;
pub(crate) mod wallets;
