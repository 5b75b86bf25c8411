//! The only room with SQL.

pub(crate) mod cancellation;
pub(crate) mod offer;
pub(crate) mod order;
