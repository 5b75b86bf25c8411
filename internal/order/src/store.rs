//! The only room with SQL.

pub(crate) mod cancellation;
pub(crate) mod deleted_user;
pub(crate) mod offer;
pub(crate) mod order;
