//! The plans that are run. A plan is never edited once it was released: raise its version.

mod cancel_order;
mod place_order;

use std::collections::BTreeMap;

use palinode_saga::{Plan, PlanErrors};

pub use cancel_order::cancel_order;
pub use place_order::{place_order_1, place_order_2};

/// Every plan of this release.
///
/// # Errors
/// One is not well-formed: a test builds all of them.
pub fn all() -> Result<Vec<Plan>, PlanErrors> {
    Ok(vec![place_order_1()?, place_order_2()?, cancel_order()?])
}

/// Which version new sagas run, where it is not the newest: a version is released beside the one
/// before it, and becomes current when somebody says so (`--plan place-order@2`).
#[must_use]
pub fn current() -> BTreeMap<String, u32> {
    BTreeMap::from([("place-order".to_owned(), 1)])
}

#[cfg(test)]
mod tests {
    use palinode_messaging::commands_of;

    use super::*;

    #[test]
    fn every_participant_of_a_plan_has_its_topic_of_commands() {
        for plan in all().unwrap() {
            for step in plan.steps() {
                let topic = commands_of(&step.participant);
                let (of, who) = (plan.label(), &step.participant);
                assert!(
                    topic.is_some(),
                    "{of}: add {who}.commands to messaging/src/topics.rs"
                );
            }
        }
    }
}
