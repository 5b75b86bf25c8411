//! GraphQL: what REST has of users, products and orders, in one graph. It calls the same services as REST
//! does, for the same caller, and has no state and no rule of its own.

mod convert;
mod errors;
mod limits;
mod loaders;
mod page;
mod schema;
mod serve;
mod types;

pub(crate) use serve::routes;
