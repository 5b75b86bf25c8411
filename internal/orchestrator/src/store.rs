//! The only room with SQL: plain functions over an open transaction, sets in and sets out.

pub(crate) mod breaker;
pub(crate) mod bulk;
pub(crate) mod plan;
pub(crate) mod read;
pub(crate) mod retention;
pub(crate) mod saga;
pub(crate) mod verb_key;
