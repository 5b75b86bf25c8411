use std::fmt::Write;

use super::*;
use crate::Hold;

/// Where the table stands for readers; `WRITE_DOCS=1` writes it anew.
const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/reference/engine-table.md"
);

const HEAD: &str = "# Every input in every state

Written by a test from the engine itself (`WRITE_DOCS=1 cargo test -p palinode-saga table`); do not edit.

One step is looked at, in a saga of the plan `place-order` where everything else is as it can be then. A cell says where the
step is afterwards, what is sent, and what becomes of the saga. *Same*: nothing changes; a duplicate is counted, a
contradiction is kept for somebody to look at. *Refused*: a verb that is not accepted, with the rule that it breaks.
";

/// A step under the glass, and the saga around it.
struct Scene {
    title: &'static str,
    step: usize,
    goes_back: bool,
    held: bool,
    /// The other steps.
    others: [StepState; 6],
}

fn scenes() -> Vec<Scene> {
    let idle = || StepState::Idle;
    let done = || StepState::Done;
    let failed = || StepState::Failed {
        reason: "NO".to_owned(),
        detail: String::new(),
    };
    vec![
        Scene {
            title: "A compensatable step, going forward",
            step: RESERVE,
            goes_back: false,
            held: false,
            others: [done(), idle(), idle(), idle(), idle(), idle()],
        },
        Scene {
            title: "A compensatable step, going back",
            step: RESERVE,
            goes_back: true,
            held: false,
            others: [done(), idle(), failed(), idle(), idle(), idle()],
        },
        Scene {
            title: "A compensatable step, going forward, held by a breaker",
            step: RESERVE,
            goes_back: false,
            held: true,
            others: [done(), idle(), idle(), idle(), idle(), idle()],
        },
        Scene {
            title: "A compensatable step, going back, held by a breaker",
            step: RESERVE,
            goes_back: true,
            held: true,
            others: [done(), idle(), failed(), idle(), idle(), idle()],
        },
        Scene {
            title: "The pivot",
            step: SHIP,
            goes_back: false,
            held: false,
            others: [done(), done(), done(), idle(), idle(), idle()],
        },
        Scene {
            title: "A retriable step",
            step: COMMIT,
            goes_back: false,
            held: false,
            others: [done(), done(), done(), done(), idle(), idle()],
        },
    ]
}

const NOW: DbTime = DbTime(100_000);

fn states(scene: &Scene) -> Vec<StepState> {
    let attempt = Attempt {
        n: 1,
        base: 0,
        since: DbTime(95_000),
        until: NOW,
    };
    let undo = Undo {
        n: 1,
        since: DbTime(95_000),
        until: NOW,
        was_done: true,
    };
    let stuck = |doing| StepState::Stuck {
        n: 1,
        doing,
        was_done: doing == Doing::Compensation,
        refused: false,
        reason: "GAVE_UP".to_owned(),
    };
    let resolving = |claim| {
        StepState::Resolving(Resolve {
            claim,
            n: 2,
            since: DbTime(95_000),
            until: NOW,
            out: true,
            was_done: claim == Claim::Undone,
        })
    };
    if scene.held {
        return if scene.goes_back {
            vec![StepState::Undoing(undo), StepState::UndoBackoff(undo)]
        } else {
            let idle = StepState::Idle;
            vec![idle, StepState::Sent(attempt), StepState::Backoff(attempt)]
        };
    }
    if scene.goes_back {
        return vec![
            StepState::Sent(attempt),
            StepState::Undoing(undo),
            StepState::UndoBackoff(undo),
            stuck(Doing::Compensation),
            resolving(Claim::Undone),
            StepState::Failed {
                reason: "NO".to_owned(),
                detail: String::new(),
            },
            StepState::Undone,
            StepState::UndoneEmpty,
            StepState::ByHand(Claim::Undone),
        ];
    }
    let mut states = vec![StepState::Sent(attempt), StepState::Backoff(attempt)];
    if scene.step == SHIP {
        states.extend([
            StepState::Probing(attempt),
            StepState::ProbeBackoff(attempt),
            stuck(Doing::Probe),
            resolving(Claim::Done),
            resolving(Claim::NotDone),
        ]);
    } else {
        states.extend([stuck(Doing::Action), resolving(Claim::Done)]);
    }
    states.extend([StepState::Done, StepState::ByHand(Claim::Done)]);
    if scene.step == COMMIT {
        states.push(StepState::Waived);
    }
    states
}

fn inputs(scene: &Scene) -> Vec<(String, Input)> {
    let until = DbTime(103_000);
    let reason = || "NO".to_owned();
    let refused = |refusal| Answer::Refused { refusal };
    let forward = [
        ("`Done`", Answer::Done),
        ("`Failed`", failed()),
        ("`NotDone`, to a probe", Answer::NotDone),
    ];
    let either = [
        ("`Pending`", Answer::Pending { until }),
        ("`Transient`", Answer::Transient),
        ("`Refused(closed)`", refused(Refusal::Closed)),
        ("`Refused(expired)`", refused(Refusal::Expired)),
        ("`Refused(mismatch)`", refused(Refusal::Mismatch)),
    ];
    let backward = [
        ("`Undone`", Answer::Undone),
        ("`UndoneEmpty`", Answer::UndoneEmpty),
        ("`CannotUndo`", Answer::CannotUndo { reason: reason() }),
        ("`NotDone`, to a probe of the undo", Answer::NotDone),
    ];
    let reply = |direction| {
        move |(words, answer): (&str, Answer)| {
            let about = match direction {
                Direction::Forward => "the action",
                Direction::Backward => "the compensation",
            };
            let either = matches!(
                answer,
                Answer::Pending { .. } | Answer::Transient | Answer::Refused { .. }
            );
            let words = if either {
                format!("{words}, of {about}")
            } else {
                words.to_owned()
            };
            let input = Input::Reply {
                step: scene.step,
                direction,
                attempt: 1,
                answer,
            };
            (words, input)
        }
    };
    let step = scene.step;
    let resolve = |claim| Verb::Resolve {
        step,
        claim,
        unreachable: false,
    };
    let verbs = [
        ("*pause*", Verb::Pause),
        ("*resume*", Verb::Resume),
        ("*retry*", Verb::Retry),
        ("*cancel*", Verb::Cancel),
        ("*force compensate*", Verb::ForceCompensate),
        ("*skip*", Verb::Skip { step }),
        ("*resolve done*", resolve(Claim::Done)),
        ("*resolve not done*", resolve(Claim::NotDone)),
        ("*resolve undone*", resolve(Claim::Undone)),
        (
            "*accept residue*",
            Verb::AcceptResidue { steps: vec![step] },
        ),
        ("*abandon*", Verb::Abandon),
    ];
    let verb = |(words, verb): (&str, Verb)| (words.to_owned(), Input::Verb { verb });
    let mut inputs = vec![("a start".to_owned(), Input::Start)];
    let to_action = forward.into_iter().chain(either.clone());
    inputs.extend(to_action.map(reply(Direction::Forward)));
    let to_compensation = backward.into_iter().chain(either);
    inputs.extend(to_compensation.map(reply(Direction::Backward)));
    inputs.push(("its timer".to_owned(), Input::Due));
    let breaker = |open| Input::Breaker { open };
    inputs.push(("the breaker opens".to_owned(), breaker(true)));
    inputs.push(("the breaker closes".to_owned(), breaker(false)));
    let moved = Input::Migrate { from: 1, to: 2 };
    inputs.push(("it comes from another version".to_owned(), moved));
    inputs.extend(verbs.into_iter().map(verb));
    inputs
}

/// A saga in which the step is there, and everything follows from that.
fn around(scene: &Scene, at: &StepState) -> State {
    let plan = plan();
    let mut state = State::new(&plan);
    state.steps = scene.others.to_vec();
    state.steps[scene.step] = at.clone();
    state.status = Status::Running;
    if scene.goes_back {
        state.status = Status::Compensating;
        state.cause = Some(Cause::Failed {
            step: "charge-payment".to_owned(),
            reason: "NO".to_owned(),
            detail: String::new(),
        });
    }
    if scene.held {
        state.hold = Some(Hold {
            since: DbTime(95_000),
            operator: false,
            breaker: true,
        });
        return state;
    }
    // what follows by itself: what rests needs attention, what is free goes on
    let closes = Input::Breaker { open: false };
    next(&plan, &state, &closes, DbTime(95_000)).state
}

fn cell(scene: &Scene, before: &State, input: &Input) -> String {
    let plan = plan();
    let after = next(&plan, before, input, NOW);
    if let Some(rule) = after.refused {
        return format!("refused: `{}`", rule.as_str());
    }
    match after.note {
        Some(Note::Contradiction) => return "same (contradiction)".to_owned(),
        Some(Note::Duplicate) => return "same (duplicate)".to_owned(),
        Some(Note::Early) | None => {}
    }
    let (was, is) = (&before.steps[scene.step], &after.state.steps[scene.step]);
    let mut words = if was.word() == is.word() {
        "same".to_owned()
    } else {
        format!("**{}**", is.word())
    };
    for effect in &after.effects {
        if let Effect::Send(command) = effect {
            let name = &plan.steps()[command.step].name;
            let kind = match (command.direction, command.probe) {
                (Direction::Forward, false) => "sends",
                (Direction::Forward, true) => "probes",
                (Direction::Backward, false) => "undoes",
                (Direction::Backward, true) => "probes the undo of",
            };
            write!(words, ", {kind} {name}").unwrap();
        }
    }
    if before.status != after.state.status {
        write!(words, "; saga {}", status(after.state.status)).unwrap();
    }
    if after.state.hold.is_some() {
        words.push_str("; held");
    }
    if after.state.closed.is_some() {
        words.push_str("; closed");
    }
    words
}

fn status(status: Status) -> &'static str {
    match status {
        Status::New => "new",
        Status::Running => "running",
        Status::Compensating => "compensating",
        Status::Completed => "completed",
        Status::Compensated => "compensated",
        Status::NeedsAttention(Need::Forward) => "needs attention (forward)",
        Status::NeedsAttention(Need::Undecided) => "needs attention (undecided)",
        Status::NeedsAttention(Need::Backward) => "needs attention (backward)",
    }
}

/// Sagas that are not under way: not yet, or no more.
fn at_rest() -> Vec<(&'static str, State)> {
    let plan = plan();
    let rest = |status, closed| State {
        status,
        closed,
        cause: (status != Status::Completed).then_some(Cause::Cancelled),
        ..State::new(&plan)
    };
    let attention = Status::NeedsAttention(Need::Backward);
    let mut completed = rest(Status::Completed, None);
    completed.steps.fill(StepState::Done);
    let mut compensated = rest(Status::Compensated, None);
    compensated.steps[0] = StepState::Undone;
    compensated.steps[RESERVE] = StepState::Undone;
    let mut abandoned = rest(attention, Some(Disposition::Abandoned));
    abandoned.steps[RESERVE] = StepState::Stuck {
        n: 1,
        doing: Doing::Compensation,
        was_done: true,
        refused: true,
        reason: "CLOSED".to_owned(),
    };
    vec![
        ("new", State::new(&plan)),
        ("completed", completed),
        ("compensated", compensated),
        ("abandoned", abandoned),
    ]
}

#[test]
fn the_table_in_the_documents_is_the_engines() {
    let mut page = HEAD.to_owned();
    for scene in scenes() {
        let states = states(&scene);
        write!(page, "\n## {}\n\n| input |", scene.title).unwrap();
        for at in &states {
            write!(page, " {} |", at.word()).unwrap();
        }
        writeln!(page, "\n|---|{}", "---|".repeat(states.len())).unwrap();
        for (words, input) in inputs(&scene) {
            write!(page, "| {words} |").unwrap();
            for at in &states {
                let before = around(&scene, at);
                write!(page, " {} |", cell(&scene, &before, &input)).unwrap();
            }
            page.push('\n');
        }
    }
    let scene = &scenes()[0];
    let sagas = at_rest();
    write!(page, "\n## A saga that is not under way\n\n| input |").unwrap();
    for (words, _) in &sagas {
        write!(page, " {words} |").unwrap();
    }
    writeln!(page, "\n|---|{}", "---|".repeat(sagas.len())).unwrap();
    for (words, input) in inputs(scene) {
        write!(page, "| {words} |").unwrap();
        for (_, before) in &sagas {
            write!(page, " {} |", cell(scene, before, &input)).unwrap();
        }
        page.push('\n');
    }
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        written == page,
        "the engine has changed: run `WRITE_DOCS=1 cargo test -p palinode-saga table`"
    );
}
