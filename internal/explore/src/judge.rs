use std::fmt;

use palinode_saga::{
    Claim, DbTime, Direction, Effect, Plan, Standing, Status, StepKind, StepState, Transition,
    accepted, ledger,
};

use crate::world::World;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// Every live saga has a wake-up, and from everywhere a rest can be reached.
    Liveness,
    /// An effect happens once at most, and is taken back once at most, after it.
    OneEffect,
    /// The direction flips once; nothing forward is sent after it.
    OneFlip,
    /// An undo is sent only when every step after its own is settled.
    UndoOrder,
    /// Nothing goes back while the pivot may have happened.
    PastPivot,
    /// What the ledger says is what there is; `Compensated` leaves nothing, `Completed` owes nothing.
    Ledger,
    /// What has ended is never left, and sends nothing.
    Ended,
    /// Under a hold nothing is sent.
    Hold,
    /// Every saga that needs attention accepts a verb.
    Verb,
}

impl Invariant {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Liveness,
        Self::OneEffect,
        Self::OneFlip,
        Self::UndoOrder,
        Self::PastPivot,
        Self::Ledger,
        Self::Ended,
        Self::Hold,
        Self::Verb,
    ];

    /// One word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::OneEffect => "one-effect",
            Self::OneFlip => "one-flip",
            Self::UndoOrder => "undo-order",
            Self::PastPivot => "past-pivot",
            Self::Ledger => "ledger",
            Self::Ended => "ended",
            Self::Hold => "hold",
            Self::Verb => "verb",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An invariant that does not hold, and how it came to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// What was found.
    pub words: String,
    /// Everything that happened, in order.
    pub trace: Vec<String>,
}

type Verdict = Result<(), (Invariant, String)>;

/// What must hold of every world.
pub(crate) fn state(plan: &Plan, world: &World) -> Verdict {
    let name = |step: usize| &plan.steps()[step].name;
    for (step, site) in world.sites.iter().enumerate() {
        if site.done > 1 || site.undone > site.done {
            let (done, undone) = (site.done, site.undone);
            let words = format!(
                "{} happened {done} times, was taken back {undone}",
                name(step)
            );
            return Err((Invariant::OneEffect, words));
        }
    }
    let state = &world.state;
    let live = matches!(state.status, Status::Running | Status::Compensating);
    let wakes = state.wake_at(plan).is_some_and(|at| at < DbTime::FAR);
    if live && !wakes && state.hold.is_none() {
        return Err((Invariant::Liveness, "nothing wakes it".to_owned()));
    }
    let there = |step: usize| world.sites[step].done > world.sites[step].undone;
    for (step, spec) in plan.steps().iter().enumerate() {
        let happened = there(step);
        let wrong = match state.status {
            Status::Compensated => happened,
            Status::Completed => {
                !happened
                    && spec.kind != StepKind::ReadOnly
                    && state.steps[step] != StepState::Waived
            }
            _ => false,
        };
        if wrong {
            let is = if happened { "is there" } else { "is not there" };
            let words = format!("{:?}, and the effect of {} {is}", state.status, name(step));
            return Err((Invariant::Ledger, words));
        }
    }
    if world.rests() {
        rest(plan, world)?;
    }
    Ok(())
}

fn rest(plan: &Plan, world: &World) -> Verdict {
    for entry in ledger(plan, &world.state) {
        let there = world.sites[entry.step].done > world.sites[entry.step].undone;
        let wrong = match entry.standing {
            Standing::Done => !there,
            Standing::None | Standing::Netted | Standing::Owed => there,
            Standing::Unknown | Standing::Waived => false,
        };
        // an effect whose answer is under way may be there and not known yet
        let pending = world
            .wire
            .iter()
            .any(|message| message.is_about(entry.step));
        if wrong && !pending {
            let step = &plan.steps()[entry.step].name;
            let words = format!(
                "{step} is {}, its effect is there: {there}",
                entry.standing.as_str()
            );
            return Err((Invariant::Ledger, words));
        }
    }
    let open =
        matches!(world.state.status, Status::NeedsAttention(_)) && world.state.closed.is_none();
    if open && accepted(plan, &world.state, world.now).is_empty() {
        return Err((Invariant::Verb, "no verb is accepted".to_owned()));
    }
    Ok(())
}

/// What must hold of every transition of the engine.
pub(crate) fn transition(
    plan: &Plan,
    before: &World,
    after: &World,
    transition: &Transition,
) -> Verdict {
    let name = |step: usize| plan.steps()[step].name.clone();
    let (was, is) = (&before.state, &after.state);
    if was.is_terminal() && (was != is || !transition.effects.is_empty()) {
        return Err((
            Invariant::Ended,
            format!("{:?} became {:?}", was.status, is.status),
        ));
    }
    if was.cause.is_some() && was.cause != is.cause {
        return Err((Invariant::OneFlip, "it goes forward again".to_owned()));
    }
    for effect in &transition.effects {
        let Effect::Send(command) = effect else {
            continue;
        };
        if was.hold.is_some() && is.hold.is_some() {
            return Err((Invariant::Hold, format!("{} is sent", name(command.step))));
        }
        match command.direction {
            Direction::Forward if is.cause.is_some() => {
                return Err((
                    Invariant::OneFlip,
                    format!("{} is sent", name(command.step)),
                ));
            }
            Direction::Forward => {}
            Direction::Backward => {
                undo_is_due(plan, after, command.step)?;
            }
        }
    }
    Ok(())
}

fn undo_is_due(plan: &Plan, world: &World, step: usize) -> Verdict {
    let name = |step: usize| plan.steps()[step].name.clone();
    for (other, spec) in plan.steps().iter().enumerate() {
        let settled = is_settled(&world.state.steps[other]);
        if spec.kind == StepKind::Pivot && !settled {
            let words = format!("{} is taken back while {} is out", name(step), name(other));
            return Err((Invariant::PastPivot, words));
        }
    }
    for after in plan.followers(step) {
        let needless = plan.steps()[after].compensation.is_none();
        if !needless && !is_settled(&world.state.steps[after]) {
            let words = format!("{} is taken back before {}", name(step), name(after));
            return Err((Invariant::UndoOrder, words));
        }
    }
    Ok(())
}

/// Whether nothing of it is left to be taken back.
fn is_settled(step: &StepState) -> bool {
    matches!(
        step,
        StepState::Idle
            | StepState::Failed { .. }
            | StepState::NotDone
            | StepState::Undone
            | StepState::UndoneEmpty
            | StepState::Waived
            | StepState::ByHand(Claim::NotDone | Claim::Undone)
    )
}
