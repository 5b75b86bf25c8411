mod docs;
mod errors;
mod layers;
mod router;

pub(crate) use errors::status_rule;
pub(crate) use layers::layers;
pub(crate) use router::router;
