//! `palinode bench`: what is claimed, measured.

mod at_rest;

pub use at_rest::{AtRest, at_rest};
