//! The plans that are run. A plan is never edited once it was released: raise its version.

mod place_order;

use palinode_saga::{Plan, PlanErrors};

pub use place_order::place_order;

/// Every plan of this release.
///
/// # Errors
/// One is not well-formed: a test builds all of them.
pub fn all() -> Result<Vec<Plan>, PlanErrors> {
    Ok(vec![place_order()?])
}
