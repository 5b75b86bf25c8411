use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::guard::{self, Act, Arrival, Comp, Row, Verdict};
use crate::state::WaitsFor;
use crate::{secs, step};

macro_rules! messages {
    ($($name:ident)*) => {$(
        #[derive(Clone, PartialEq, prost::Message)]
        struct $name {}
        impl prost::Name for $name {
            const PACKAGE: &'static str = "test";
            const NAME: &'static str = stringify!($name);
        }
    )*};
}
messages! { Input_ Reject Reserve Release Charge Refund Ship Commit Confirm }

/// The shape of place-order.
fn plan() -> Plan {
    Plan::new("place-order", 1)
        .input::<Input_>()
        .deadline(secs(120))
        .opened_by(
            step("open-order")
                .at("order")
                .undo::<Reject>()
                .token("order"),
        )
        .step(
            step("reserve-stock")
                .at("inventory")
                .after(["open-order"])
                .compensatable::<Reserve, Release>()
                .token("stock.hold"),
        )
        .step(
            step("charge-payment")
                .at("payment")
                .after(["reserve-stock"])
                .compensatable::<Charge, Refund>()
                .token("payment"),
        )
        .step(
            step("arrange-shipping")
                .at("shipping")
                .after(["charge-payment"])
                .pivot::<Ship>()
                .token("shipment"),
        )
        .step(
            step("commit-stock")
                .at("inventory")
                .after(["arrange-shipping"])
                .retriable::<Commit>()
                .token("stock.sold"),
        )
        .step(
            step("confirm-order")
                .at("order")
                .after(["arrange-shipping"])
                .retriable::<Confirm>()
                .token("order.confirmed"),
        )
        .build()
        .unwrap()
}

const RESERVE: usize = 1;
const CHARGE: usize = 2;
const SHIP: usize = 3;
const COMMIT: usize = 4;
const CONFIRM: usize = 5;

/// A saga under test: applies inputs and writes down what was sent.
struct Saga {
    plan: Plan,
    state: State,
    now: DbTime,
    sent: Vec<String>,
}

impl Saga {
    fn start() -> Self {
        let plan = plan();
        let state = State::new(&plan);
        let mut saga = Self {
            plan,
            state,
            now: DbTime(1_000_000),
            sent: vec![],
        };
        saga.input(&Input::Start);
        saga
    }

    fn input(&mut self, input: &Input) -> Option<Note> {
        let transition = next(&self.plan, &self.state, input, self.now);
        self.state = transition.state;
        for effect in transition.effects {
            self.sent.push(match effect {
                Effect::Send(command) => {
                    let step = &self.plan.steps()[command.step].name;
                    let probe = if command.probe { "probe " } else { "" };
                    let undo = if command.direction == Direction::Backward {
                        "undo "
                    } else {
                        ""
                    };
                    format!("{probe}{undo}{step}#{}", command.attempt)
                }
                Effect::Emit(ended) => format!("{:?}", ended.status),
            });
        }
        transition.note
    }

    fn reply(&mut self, step: usize, direction: Direction, answer: Answer) -> Option<Note> {
        let attempt = self.state.steps[step].attempts().max(1);
        self.input(&Input::Reply {
            step,
            direction,
            attempt,
            answer,
        })
    }

    fn done(&mut self, steps: &[usize]) {
        for &step in steps {
            self.reply(step, Direction::Forward, Answer::Done);
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(secs(seconds));
        self.input(&Input::Due);
    }
}

fn failed() -> Answer {
    Answer::Failed {
        reason: "NO".to_owned(),
        detail: String::new(),
    }
}

#[test]
fn the_happy_path_sends_each_step_once_and_completes() {
    let mut saga = Saga::start();
    saga.done(&[RESERVE, CHARGE, SHIP, COMMIT, CONFIRM]);
    assert_eq!(
        saga.sent,
        [
            "reserve-stock#1",
            "charge-payment#1",
            "arrange-shipping#1",
            "commit-stock#1",
            "confirm-order#1",
            "Completed"
        ]
    );
    assert_eq!(saga.state.wake_at(&saga.plan), None);
}

#[test]
fn a_refused_pivot_unwinds_last_in_first_out() {
    let mut saga = Saga::start();
    saga.done(&[RESERVE, CHARGE]);
    saga.reply(SHIP, Direction::Forward, failed());
    for step in [CHARGE, RESERVE, 0] {
        assert_eq!(saga.state.status, Status::Compensating);
        saga.reply(step, Direction::Backward, Answer::Undone);
    }
    assert_eq!(
        saga.sent[3..],
        [
            "undo charge-payment#1",
            "undo reserve-stock#1",
            "undo open-order#1",
            "Compensated"
        ]
    );
    assert_eq!(saga.state.cause.as_ref().map(Cause::reason), Some("NO"));
}

#[test]
fn a_timeout_means_unknown_and_the_budget_used_up_is_compensated() {
    let mut saga = Saga::start();
    for _ in 0..12 {
        saga.wait(6);
    }
    assert_eq!(saga.state.status, Status::Compensating);
    assert_eq!(
        saga.state.cause,
        Some(Cause::Unknown {
            step: "reserve-stock".to_owned()
        })
    );
    saga.reply(RESERVE, Direction::Backward, Answer::UndoneEmpty);
    saga.reply(0, Direction::Backward, Answer::Undone);
    assert_eq!(saga.state.status, Status::Compensated);
    let attempts = saga
        .sent
        .iter()
        .filter(|s| s.starts_with("reserve-stock#"))
        .count();
    assert!((2..=5).contains(&attempts), "{:?}", saga.sent);
}

#[test]
fn an_unknown_pivot_is_probed_and_its_answer_decides() {
    for (answer, end) in [
        (Answer::Done, Status::Running),
        (Answer::NotDone, Status::Compensating),
    ] {
        let mut saga = Saga::start();
        saga.done(&[RESERVE, CHARGE]);
        while !saga.sent.iter().any(|s| s.starts_with("probe")) {
            saga.wait(6);
        }
        saga.reply(SHIP, Direction::Forward, answer);
        assert_eq!(saga.state.status, end, "{:?}", saga.sent);
    }
}

#[test]
fn a_probe_that_is_never_answered_rests_undecided_and_a_late_reply_frees_it() {
    let mut saga = Saga::start();
    saga.done(&[RESERVE, CHARGE]);
    for _ in 0..20_000 {
        saga.wait(6);
    }
    assert_eq!(saga.state.status, Status::NeedsAttention(Need::Undecided));
    assert_eq!(saga.state.waits().unwrap().what, WaitsFor::Operator);
    saga.reply(SHIP, Direction::Forward, Answer::Done);
    saga.done(&[COMMIT, CONFIRM]);
    assert_eq!(saga.state.status, Status::Completed);
}

#[test]
fn after_the_pivot_the_saga_never_goes_back() {
    let mut saga = Saga::start();
    saga.done(&[RESERVE, CHARGE, SHIP]);
    for _ in 0..100 {
        saga.wait(30);
    }
    assert_eq!(saga.state.status, Status::Running);
    saga.done(&[COMMIT, CONFIRM]);
    assert_eq!(saga.state.status, Status::Completed);
}

#[test]
fn the_deadline_rolls_back_before_the_pivot_only() {
    let mut saga = Saga::start();
    saga.done(&[RESERVE]);
    let until = saga.now.after(secs(119));
    saga.reply(CHARGE, Direction::Forward, Answer::Pending { until });
    saga.now = saga.now.after(secs(121));
    saga.input(&Input::Due);
    assert_eq!(saga.state.status, Status::Compensating);
}

#[test]
fn an_undo_that_finds_nothing_of_a_step_that_was_done_is_a_contradiction() {
    let mut saga = Saga::start();
    saga.done(&[RESERVE]);
    saga.reply(CHARGE, Direction::Forward, failed());
    saga.reply(RESERVE, Direction::Backward, Answer::UndoneEmpty);
    assert_eq!(saga.state.status, Status::NeedsAttention(Need::Backward));
    assert_eq!(saga.state.steps[RESERVE].reason(), "CONTRADICTION");
}

#[test]
fn a_duplicate_changes_nothing() {
    let mut saga = Saga::start();
    saga.done(&[RESERVE]);
    let before = saga.state.clone();
    let note = saga.reply(RESERVE, Direction::Forward, Answer::Done);
    assert_eq!((note, saga.state), (Some(Note::Duplicate), before));
}

#[test]
fn state_survives_its_stored_form() {
    let mut saga = Saga::start();
    saga.done(&[RESERVE, CHARGE]);
    saga.reply(SHIP, Direction::Forward, failed());
    let stored = serde_json::to_vec(&saga.state).unwrap();
    assert!(stored.len() < 600, "{} bytes", stored.len());
    assert_eq!(
        serde_json::from_slice::<State>(&stored).unwrap(),
        saga.state
    );
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(Answer::Done),
        1 => Just(failed()),
        1 => (0..2_000_000_i64).prop_map(|ms| Answer::Pending { until: DbTime(ms) }),
        1 => Just(Answer::Transient),
        1 => prop_oneof![Just(Refusal::Closed), Just(Refusal::Expired), Just(Refusal::Mismatch)]
            .prop_map(|refusal| Answer::Refused { refusal }),
        4 => Just(Answer::Undone),
        1 => Just(Answer::UndoneEmpty),
        1 => Just(Answer::CannotUndo { reason: "NO".to_owned() }),
        1 => Just(Answer::NotDone),
    ]
}

fn inputs() -> impl Strategy<Value = (Input, u64)> {
    let direction = prop_oneof![Just(Direction::Forward), Just(Direction::Backward)];
    let reply = (0..6_usize, direction, 1..6_u32, answers()).prop_map(
        |(step, direction, attempt, answer)| Input::Reply {
            step,
            direction,
            attempt,
            answer,
        },
    );
    (
        prop_oneof![8 => reply, 3 => Just(Input::Due), 1 => Just(Input::Start)],
        0..20_u64,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_input_in_any_state_keeps_the_promises(script in prop::collection::vec(inputs(), 0..60)) {
        let mut saga = Saga::start();
        for (input, seconds) in script {
            let before = saga.state.clone();
            let sent = saga.sent.len();
            saga.now = saga.now.after(secs(seconds));
            saga.input(&input);
            let state = &saga.state;
            if before.is_terminal() {
                prop_assert_eq!(state, &before, "what has ended stays as it is");
            }
            if matches!(state.status, Status::Running | Status::Compensating) {
                prop_assert!(state.wake_at(&saga.plan).is_some(), "nothing would wake {:?}", state);
            }
            if before.cause.is_some() {
                prop_assert_eq!(&state.cause, &before.cause, "the direction flips once");
                for sent in &saga.sent[sent..] {
                    prop_assert!(
                        sent.starts_with("undo") || sent.starts_with('C') || sent.starts_with('N'),
                        "{} goes forward in a saga that goes back", sent
                    );
                }
            }
            if state.steps[SHIP] == StepState::Done {
                prop_assert!(state.cause.is_none(), "turned back after the pivot");
            }
        }
    }
}

/// A world of participants that keep the guard, and a broker that loses, repeats and reorders.
#[derive(Default)]
struct World {
    rows: BTreeMap<usize, Row>,
    verdicts: BTreeMap<usize, Answer>,
    effects: BTreeMap<usize, i32>,
    wire: Vec<Command>,
}

impl World {
    fn answer(&mut self, command: Command, fails: Option<usize>) -> Answer {
        let opened = Row {
            act: Act::Done,
            comp: Comp::None,
        };
        let new = if command.step == 0 { opened } else { Row::NEW };
        let row = self.rows.entry(command.step).or_insert(new);
        let arrival = match (command.direction, command.probe) {
            (Direction::Forward, false) => Arrival::Action { same_body: true },
            (Direction::Forward, true) => Arrival::Probe,
            (Direction::Backward, _) => Arrival::Compensation,
        };
        let effect = self.effects.entry(command.step).or_default();
        match guard::decide(*row, arrival) {
            Verdict::RunAction if fails == Some(command.step) => {
                row.act = Act::Failed;
                self.verdicts.insert(command.step, failed());
                failed()
            }
            Verdict::RunAction => {
                row.act = Act::Done;
                *effect += 1;
                self.verdicts.insert(command.step, Answer::Done);
                Answer::Done
            }
            Verdict::RunCompensation => {
                row.comp = Comp::Done;
                *effect -= 1;
                Answer::Undone
            }
            Verdict::ReplayAction => self.verdicts[&command.step].clone(),
            Verdict::ReplayCompensation if row.act == Act::Done => Answer::Undone,
            Verdict::ReplayCompensation => Answer::UndoneEmpty,
            Verdict::Tombstone(after) => {
                *row = after;
                Answer::UndoneEmpty
            }
            Verdict::Close(after) => {
                *row = after;
                Answer::NotDone
            }
            Verdict::NotDone => Answer::NotDone,
            Verdict::RefuseClosed => Answer::Refused {
                refusal: Refusal::Closed,
            },
            Verdict::RefuseMismatch => Answer::Refused {
                refusal: Refusal::Mismatch,
            },
            Verdict::Pending | Verdict::AwaitThenUndo => Answer::Transient,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Commands and replies are lost, repeated, delayed and reordered: the saga ends well, and
    /// every effect happened once or was taken back.
    #[test]
    fn whatever_the_broker_does_the_saga_ends_well(
        fails in prop::option::of(1..4_usize),
        fates in prop::collection::vec((any::<usize>(), 0..10_u8, 0..8_u64), 0..80),
    ) {
        let mut saga = Saga { sent: vec![], ..Saga::start() };
        let mut world = World::default();
        let mut replies: Vec<Input> = vec![];
        let start = next(&saga.plan, &State::new(&saga.plan), &Input::Start, saga.now);
        let commands = |effects: Vec<Effect>| {
            effects.into_iter().filter_map(|e| match e { Effect::Send(c) => Some(c), Effect::Emit(_) => None })
        };
        world.wire.extend(commands(start.effects));
        let mut fates = fates.into_iter();
        for round in 0..5_000 {
            if saga.state.is_terminal() { break; }
            let (pick, fate, seconds) = fates.next()
                .unwrap_or((0, 9, 1));
            saga.now = saga.now.after(secs(seconds));
            if !world.wire.is_empty() && (fate % 2 == 1 || replies.is_empty()) {
                let at = pick % world.wire.len();
                let command = world.wire[at];
                if fate != 3 { world.wire.remove(at); } // 3: the broker will repeat it
                if fate != 1 { // 1: lost
                    let answer = world.answer(command, fails);
                    replies.push(Input::Reply {
                        step: command.step, direction: command.direction,
                        attempt: command.attempt, answer,
                    });
                }
            } else if !replies.is_empty() {
                let at = pick % replies.len();
                let reply = if fate == 2 { replies[at].clone() } else { replies.remove(at) };
                if fate != 0 { // 0: lost
                    let t = next(&saga.plan, &saga.state, &reply, saga.now);
                    saga.state = t.state;
                    world.wire.extend(commands(t.effects));
                }
            }
            let t = next(&saga.plan, &saga.state, &Input::Due, saga.now);
            saga.state = t.state;
            world.wire.extend(commands(t.effects));
            prop_assert!(round < 4_999, "no end: {:?}", saga.state);
        }
        // what is still on the wire arrives late, after the end
        let before = world.effects.clone();
        for command in world.wire.clone() { world.answer(command, fails); }
        prop_assert_eq!(&world.effects, &before, "a late command had an effect");
        let effect = |step: usize| world.effects.get(&step).copied().unwrap_or_default();
        if saga.state.status == Status::Completed {
            for step in [RESERVE, CHARGE, SHIP, COMMIT, CONFIRM] { prop_assert_eq!(effect(step), 1); }
        } else {
            prop_assert_eq!(saga.state.status, Status::Compensated);
            prop_assert_eq!(effect(0), -1, "the opening step was taken back once");
            for step in [RESERVE, CHARGE, SHIP, COMMIT, CONFIRM] { prop_assert_eq!(effect(step), 0); }
        }
    }
}
