//! What a process knows that starts: what is stored, and nothing else.

use palinode_saga::{State, Status, next};

use crate::fault::legs;
use crate::judge::Invariant;
use crate::moment::{Moment, Rules, Stepped};

/// Events of each leg until a rest, at the most.
const EVENTS_MAX: usize = 50;

/// What does not hold of the stored state: what is read is what was written; the next input makes
/// of it what it made of the state in memory, so that the inputs of a history, folded from any of
/// its prefixes, give its end; and with every message lost it comes to rest all the same.
pub(crate) fn violated(
    rules: &Rules,
    before: &Moment,
    stepped: &Stepped,
) -> Option<(Invariant, String)> {
    let (input, transition) = stepped.engine.as_ref()?;
    let stored = |state: &State| serde_json::to_string(state).ok();
    let read = stored(&before.state).and_then(|text| serde_json::from_str::<State>(&text).ok());
    let Some(read) = read.filter(|read| *read == before.state) else {
        let words = format!("it cannot be read as it was: {:?}", before.state);
        return Some((Invariant::History, words));
    };
    let again = next(&rules.plan, &read, input, stepped.after.now);
    if rules.mutant.is_none() && again != *transition {
        let words = format!("read again, it goes another way on {input:?}");
        return Some((Invariant::History, words));
    }
    let mut alone = stepped.after.clone();
    alone.loses_messages();
    let rests = comes_to_rest(rules, alone);
    (!rests).then(|| {
        let words = "with all messages lost it never comes to rest".to_owned();
        (Invariant::Liveness, words)
    })
}

/// Whether it comes to rest when nothing more goes wrong.
pub(crate) fn comes_to_rest(rules: &Rules, mut moment: Moment) -> bool {
    for _ in 0..EVENTS_MAX * legs(&rules.plan).len() {
        if moment.rests() || moment.state.status == Status::New {
            return true;
        }
        let Some(event) = moment.free(rules).first().copied() else {
            return false;
        };
        let Some(stepped) = moment.after(rules, event) else {
            return false;
        };
        moment = stepped.after;
    }
    false
}
