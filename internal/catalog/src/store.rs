pub(crate) mod categories;
pub(crate) mod creations;
pub(crate) mod products;
