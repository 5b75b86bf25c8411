//! Rules of products. Pure.
#![warn(clippy::wildcard_enum_match_arm)]

mod listing;
mod product;
mod reason;
mod search;

pub(crate) use listing::{Filter, Key, Listing, Sort};
pub(crate) use product::{Category, Change, Draft, PRICE_MINOR_MAX, Product};
pub(crate) use reason::Reason;
pub(crate) use search::{Sought, sort_name, sought};
