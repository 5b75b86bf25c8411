use std::fmt::Write;

use super::*;

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
            others: [done(), idle(), idle(), idle(), idle(), idle()],
        },
        Scene {
            title: "A compensatable step, going back",
            step: RESERVE,
            goes_back: true,
            others: [done(), idle(), failed(), idle(), idle(), idle()],
        },
        Scene {
            title: "The pivot",
            step: SHIP,
            goes_back: false,
            others: [done(), done(), done(), idle(), idle(), idle()],
        },
        Scene {
            title: "A retriable step",
            step: COMMIT,
            goes_back: false,
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
    let pivot = scene.step == SHIP;
    let mut states = Vec::new();
    if scene.goes_back {
        states.extend([StepState::Sent(attempt), StepState::Undoing(undo)]);
        states.extend([StepState::UndoBackoff(undo), stuck(Doing::Compensation)]);
        states.extend([StepState::Undone, StepState::UndoneEmpty]);
    } else {
        states.extend([StepState::Sent(attempt), StepState::Backoff(attempt)]);
        if pivot {
            states.extend([
                StepState::Probing(attempt),
                StepState::ProbeBackoff(attempt),
            ]);
            states.push(stuck(Doing::Probe));
        } else {
            states.push(stuck(Doing::Action));
        }
        states.push(StepState::Done);
    }
    states
}

fn inputs(scene: &Scene) -> Vec<(&'static str, Input)> {
    let direction = if scene.goes_back {
        Direction::Backward
    } else {
        Direction::Forward
    };
    let until = DbTime(103_000);
    let reason = || "NO".to_owned();
    let refused = |refusal| Answer::Refused { refusal };
    let answers = [
        ("`Done`", Answer::Done),
        ("`Failed`", failed()),
        ("`Pending`", Answer::Pending { until }),
        ("`Transient`", Answer::Transient),
        ("`Refused(closed)`", refused(Refusal::Closed)),
        ("`Refused(expired)`", refused(Refusal::Expired)),
        ("`Refused(mismatch)`", refused(Refusal::Mismatch)),
        ("`Undone`", Answer::Undone),
        ("`UndoneEmpty`", Answer::UndoneEmpty),
        ("`CannotUndo`", Answer::CannotUndo { reason: reason() }),
        ("`NotDone`", Answer::NotDone),
    ];
    let reply = |(words, answer)| {
        let input = Input::Reply {
            step: scene.step,
            direction,
            attempt: 1,
            answer,
        };
        (words, input)
    };
    let step = scene.step;
    let resolve = |claim| Verb::Resolve {
        step,
        claim,
        unreachable: false,
    };
    let verbs = [
        ("*pause*", Verb::Pause),
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
    let verb = |(words, verb)| (words, Input::Verb { verb });
    let mut inputs: Vec<_> = answers.into_iter().map(reply).collect();
    inputs.push(("its timer", Input::Due));
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
    // what follows by itself: what rests needs attention, what is free goes on
    let settled = next(
        &plan,
        &state,
        &Input::Breaker { open: false },
        DbTime(95_000),
    );
    settled.state
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
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        written == page,
        "the engine has changed: run `WRITE_DOCS=1 cargo test -p palinode-saga table`"
    );
}
