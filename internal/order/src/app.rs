//! One use case a file.

pub(crate) mod decide;
pub(crate) mod place;
pub(crate) mod sweep;

#[cfg(test)]
mod tests;

/// The plan that decides orders.
pub(crate) const PLAN: &str = "place-order";
/// The step of the plan that is done by placing the order.
pub(crate) const OPENING_STEP: &str = "open-order";
/// `ce_source` of everything the order service writes.
pub(crate) const SOURCE: &str = "/palinode/order";
