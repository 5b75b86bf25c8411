mod browser;
mod cors;
mod docs;
mod errors;
mod layers;
mod rate;
mod router;

pub(crate) use docs::packed;
pub(crate) use errors::{problem, status_rule};
pub(crate) use layers::{Edge, layers};
pub(crate) use rate::Limiter;
pub(crate) use router::router;
