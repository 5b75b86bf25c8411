use std::hash::{DefaultHasher, Hash, Hasher};

use palinode_saga::{Answer, DbTime, StepState};

use super::{Moment, Rules};
use crate::wire::What;

impl Moment {
    /// A digest that is equal for moments with equal futures: times count from now.
    pub(crate) fn digest(&self, rules: &Rules) -> u128 {
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            salt.hash(&mut hasher);
            self.hash_relative(rules, &mut hasher);
            u128::from(hasher.finish())
        };
        half(0) << 64 | half(1)
    }

    fn hash_relative(&self, rules: &Rules, hasher: &mut impl Hasher) {
        // what is overdue is overdue, however long
        let floor = if rules.unreduced { i64::MIN } else { -1 };
        let until = |at: DbTime| at.0.saturating_sub(self.now.0).max(floor);
        let since = |at: DbTime| at.0.saturating_sub(self.now.0);
        self.state.status.hash(hasher);
        self.state.cause.hash(hasher);
        self.state.wish.hash(hasher);
        self.state.closed.hash(hasher);
        self.state.deadline.map(until).hash(hasher);
        let hold = self.state.hold;
        hold.map(|hold| (since(hold.since), hold.operator, hold.breaker))
            .hash(hasher);
        for step in &self.state.steps {
            std::mem::discriminant(step).hash(hasher);
            step.attempts().hash(hasher);
            step.until().map(until).hash(hasher);
            match step {
                StepState::Sent(at)
                | StepState::Backoff(at)
                | StepState::Probing(at)
                | StepState::ProbeBackoff(at) => (since(at.since), at.base).hash(hasher),
                StepState::Undoing(undo) | StepState::UndoBackoff(undo) => {
                    (since(undo.since), undo.was_done).hash(hasher);
                }
                StepState::Stuck {
                    doing,
                    was_done,
                    refused,
                    ..
                } => (doing, was_done, refused).hash(hasher),
                StepState::ByHand(claim) => claim.hash(hasher),
                StepState::Resolving(resolve) => (
                    resolve.claim,
                    since(resolve.since),
                    resolve.out,
                    resolve.was_done,
                )
                    .hash(hasher),
                _ => {}
            }
        }
        self.sites.hash(hasher);
        self.mute.hash(hasher);
        for message in &self.wire {
            message.late.hash(hasher);
            std::mem::discriminant(&message.what).hash(hasher);
            match &message.what {
                What::Start => {}
                What::Command { leg, attempt } => (leg, attempt).hash(hasher),
                What::Call { step, made } => (step, made).hash(hasher),
                What::Reply {
                    leg,
                    attempt,
                    answer,
                } => {
                    (leg, attempt).hash(hasher);
                    match answer {
                        Answer::Pending { until: promised } => until(*promised).hash(hasher),
                        answer => answer.hash(hasher),
                    }
                }
                What::Stale {
                    leg,
                    attempt,
                    version,
                    ..
                } => (leg, attempt, version).hash(hasher),
            }
        }
    }
}
