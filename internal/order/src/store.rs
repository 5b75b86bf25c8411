//! The only room with SQL.

pub(crate) mod cancellation;
pub(crate) mod cart;
pub(crate) mod deleted_user;
pub(crate) mod order;
pub(crate) mod product;
pub(crate) mod quote;
