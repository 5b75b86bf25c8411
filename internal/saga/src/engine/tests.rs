mod table;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::guard::{self, Act, Arrival, Comp, Row, Verdict};
use crate::ledger::{Standing, ledger, residue};
use crate::state::WaitsFor;
use crate::verb::accepted;
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
        .cancellable()
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
                .skippable()
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

    /// Applies a verb; the rule, if it is refused.
    fn verb(&mut self, verb: Verb) -> Option<Rule> {
        let input = Input::Verb { verb };
        let refused = next(&self.plan, &self.state, &input, self.now).refused;
        self.input(&input);
        refused
    }

    fn standing(&self, step: usize) -> Standing {
        let entries = ledger(&self.plan, &self.state);
        entries
            .into_iter()
            .find(|e| e.step == step)
            .unwrap()
            .standing
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
    assert_eq!(saga.state.wish, None, "there is nothing to wish for");
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
    let open = any::<bool>().prop_map(|open| Input::Breaker { open });
    let verb = verbs().prop_map(|verb| Input::Verb { verb });
    (
        prop_oneof![
            16 => reply, 6 => Just(Input::Due), 1 => Just(Input::Start), 1 => open, 6 => verb
        ],
        0..20_u64,
    )
}

fn verbs() -> impl Strategy<Value = Verb> {
    let claim = prop_oneof![Just(Claim::Done), Just(Claim::NotDone), Just(Claim::Undone)];
    let resolve =
        (0..6_usize, claim, any::<bool>()).prop_map(|(step, claim, unreachable)| Verb::Resolve {
            step,
            claim,
            unreachable,
        });
    prop_oneof![
        2 => Just(Verb::Pause),
        4 => Just(Verb::Resume),
        3 => Just(Verb::Retry),
        1 => Just(Verb::Cancel),
        1 => Just(Verb::ForceCompensate),
        1 => (0..7_usize).prop_map(|step| Verb::Skip { step }),
        4 => resolve,
        1 => prop::collection::vec(0..6_usize, 0..3).prop_map(|steps| Verb::AcceptResidue { steps }),
        1 => Just(Verb::Abandon),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6_000))]

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
                        sent.starts_with("undo")
                            || sent.starts_with("probe undo")
                            || sent.starts_with('C')
                            || sent.starts_with('N'),
                        "{} goes forward in a saga that goes back", sent
                    );
                }
            }
            if state.steps[SHIP].happened() {
                prop_assert!(state.cause.is_none(), "turned back after the pivot");
            }
            if before.hold.is_some() && state.hold.is_some() {
                prop_assert_eq!(saga.sent.len(), sent, "sent under a hold");
            }
            let left = ledger(&saga.plan, state);
            let stands = |standing| left.iter().any(|entry| entry.standing == standing);
            match state.status {
                Status::Compensated => {
                    prop_assert!(!stands(Standing::Done) && !stands(Standing::Unknown));
                }
                Status::Completed => {
                    prop_assert!(!stands(Standing::Owed) && !stands(Standing::Unknown));
                }
                Status::NeedsAttention(Need::Backward) if state.closed.is_none() => {
                    prop_assert!(!residue(&saga.plan, state).is_empty());
                }
                Status::New | Status::Running | Status::Compensating
                | Status::NeedsAttention(_) => {}
            }
        }
        if !saga.state.is_terminal() && saga.state.closed.is_none() {
            let verbs = accepted(&saga.plan, &saga.state, saga.now);
            prop_assert!(!verbs.is_empty(), "no verb is accepted in {:?}", saga.state);
        }
    }
}

#[test]
fn under_a_hold_answers_count_and_nothing_is_sent() {
    let mut saga = Saga::start();
    assert_eq!(saga.verb(Verb::Pause), None);
    assert_eq!(saga.verb(Verb::Pause), Some(Rule::AlreadyPaused));
    saga.done(&[RESERVE]);
    saga.wait(1_000);
    assert_eq!(saga.sent, ["reserve-stock#1"]);
    assert_eq!(saga.state.waits().unwrap().what, WaitsFor::Hold);
    assert_eq!(saga.verb(Verb::Resume), None);
    assert_eq!(saga.sent.last().unwrap(), "charge-payment#1");
    // the deadline has moved by the length of the hold
    saga.wait(5);
    assert_eq!(saga.state.status, Status::Running);
}

#[test]
fn an_attempt_that_expired_under_a_hold_is_repeated_after_it_with_what_was_left_of_its_budget() {
    let mut saga = Saga::start();
    for _ in 0..3 {
        saga.verb(Verb::Pause);
        saga.wait(3_600);
        assert_eq!(saga.state.steps[RESERVE].word(), "backoff");
        saga.verb(Verb::Resume);
    }
    assert_eq!(
        saga.sent[1..],
        ["reserve-stock#2", "reserve-stock#3", "reserve-stock#4"]
    );
    assert_eq!(saga.state.status, Status::Running);
}

#[test]
fn what_ends_under_a_breaker_is_not_counted_against_the_saga() {
    let mut saga = Saga::start();
    // all but the last attempt of the budget
    for _ in 0..4 {
        saga.wait(6);
    }
    let before = saga.sent.len();
    saga.input(&Input::Breaker { open: true });
    saga.wait(3_600);
    saga.input(&Input::Breaker { open: false });
    assert_eq!(saga.state.status, Status::Running);
    assert_eq!(saga.state.cause, None);
    saga.wait(1);
    assert_eq!(saga.sent.len(), before + 1, "{:?}", saga.sent);
    saga.done(&[RESERVE]);
    assert_eq!(saga.sent.last().unwrap(), "charge-payment#1");
}

#[test]
fn two_who_hold_must_both_let_go() {
    let mut saga = Saga::start();
    saga.input(&Input::Breaker { open: true });
    saga.verb(Verb::Pause);
    saga.verb(Verb::Resume);
    saga.done(&[RESERVE]);
    assert_eq!(saga.sent.len(), 1);
    saga.input(&Input::Breaker { open: false });
    assert_eq!(saga.sent.last().unwrap(), "charge-payment#1");
}

#[test]
fn a_cancel_goes_back_at_once_before_the_pivot_and_asks_while_it_is_out() {
    let mut saga = Saga::start();
    saga.done(&[RESERVE]);
    assert_eq!(saga.verb(Verb::Cancel), None);
    assert_eq!(saga.state.cause, Some(Cause::Cancelled));
    assert_eq!(saga.verb(Verb::Cancel), Some(Rule::GoesBack));

    for (answer, status) in [
        (Answer::NotDone, Status::Compensating),
        (Answer::Done, Status::Running),
    ] {
        let mut saga = Saga::start();
        saga.done(&[RESERVE, CHARGE]);
        assert_eq!(saga.verb(Verb::Cancel), None);
        assert_eq!(saga.sent.last().unwrap(), "probe arrange-shipping#2");
        saga.reply(SHIP, Direction::Forward, answer);
        assert_eq!(saga.state.status, status);
        let cancelled = (status == Status::Compensating).then_some(Cause::Cancelled);
        assert_eq!((saga.state.cause, saga.state.wish), (cancelled, None));
    }

    let mut saga = Saga::start();
    saga.done(&[RESERVE, CHARGE, SHIP]);
    assert_eq!(saga.verb(Verb::Cancel), Some(Rule::PastPivot));
    assert_eq!(saga.verb(Verb::ForceCompensate), Some(Rule::PastPivot));
}

#[test]
fn forced_back_what_is_out_counts_as_unknown_at_once() {
    let mut saga = Saga::start();
    saga.done(&[RESERVE]);
    assert_eq!(saga.verb(Verb::ForceCompensate), None);
    assert_eq!(saga.sent.last().unwrap(), "undo charge-payment#1");
    assert_eq!(saga.standing(CHARGE), Standing::Unknown);
    assert_eq!(saga.standing(RESERVE), Standing::Done);
    assert_eq!(saga.standing(COMMIT), Standing::None);
}

/// A saga whose refund was refused.
fn cannot_refund() -> Saga {
    let mut saga = Saga::start();
    saga.done(&[RESERVE, CHARGE]);
    saga.reply(SHIP, Direction::Forward, failed());
    let reason = "CARD_CLOSED".to_owned();
    saga.reply(CHARGE, Direction::Backward, Answer::CannotUndo { reason });
    assert_eq!(saga.state.status, Status::NeedsAttention(Need::Backward));
    saga
}

#[test]
fn accepted_residue_lets_the_unwind_go_on_and_is_never_called_compensated() {
    let mut saga = cannot_refund();
    let left: Vec<_> = residue(&saga.plan, &saga.state)
        .into_iter()
        .map(|e| e.step)
        .collect();
    assert_eq!(left, [0, RESERVE, CHARGE]);
    assert_eq!(
        saga.verb(Verb::AcceptResidue {
            steps: vec![RESERVE]
        }),
        Some(Rule::NoResidue),
        "it can still be taken back"
    );
    assert_eq!(
        saga.verb(Verb::AcceptResidue {
            steps: vec![CHARGE]
        }),
        None
    );
    assert_eq!(saga.sent.last().unwrap(), "undo reserve-stock#1");
    for step in [RESERVE, 0] {
        saga.reply(step, Direction::Backward, Answer::Undone);
    }
    assert_eq!(saga.state.status, Status::NeedsAttention(Need::Backward));
    assert_eq!(saga.state.closed, Some(Disposition::ResidueAccepted));
    assert_eq!(saga.standing(CHARGE), Standing::Waived);
    assert_eq!(saga.verb(Verb::Retry), Some(Rule::CaseClosed));
}

#[test]
fn what_was_undone_by_hand_is_asked_about_before_it_is_believed() {
    let resolve = Verb::Resolve {
        step: CHARGE,
        claim: Claim::Undone,
        unreachable: false,
    };
    for (answer, word) in [
        (Answer::NotDone, "undone-by-hand"),
        (Answer::Undone, "undone"),
    ] {
        let mut saga = cannot_refund();
        assert_eq!(saga.verb(resolve.clone()), None);
        assert_eq!(saga.sent.last().unwrap(), "probe undo charge-payment#2");
        assert_eq!(saga.state.status, Status::Compensating);
        saga.reply(CHARGE, Direction::Backward, answer);
        assert_eq!(saga.state.steps[CHARGE].word(), word);
        assert_eq!(saga.sent.last().unwrap(), "undo reserve-stock#1");
    }
}

#[test]
fn an_undecided_pivot_is_resolved_either_way() {
    for (claim, answer, status) in [
        (Claim::Done, Answer::NotDone, Status::Running),
        (Claim::NotDone, Answer::NotDone, Status::Compensating),
        (Claim::NotDone, Answer::Done, Status::Running),
    ] {
        let mut saga = Saga::start();
        saga.done(&[RESERVE, CHARGE]);
        for _ in 0..20_000 {
            saga.wait(6);
        }
        assert_eq!(saga.state.status, Status::NeedsAttention(Need::Undecided));
        assert_eq!(saga.verb(Verb::ForceCompensate), Some(Rule::PivotUndecided));
        let verb = Verb::Resolve {
            step: SHIP,
            claim,
            unreachable: false,
        };
        assert_eq!(saga.verb(verb), None);
        saga.reply(SHIP, Direction::Forward, answer);
        assert_eq!(saga.state.status, status);
    }
}

#[test]
fn a_retry_has_a_new_budget_and_counts_its_attempts_on() {
    let mut saga = cannot_refund();
    assert_eq!(saga.verb(Verb::Retry), None);
    assert_eq!(saga.state.status, Status::Compensating);
    assert_eq!(saga.sent.last().unwrap(), "undo charge-payment#2");

    let mut saga = Saga::start();
    saga.wait(6);
    assert_eq!(saga.verb(Verb::Retry), None);
    for _ in 0..4 {
        assert_eq!(saga.state.status, Status::Running);
        saga.reply(RESERVE, Direction::Forward, Answer::Transient);
        saga.wait(6);
    }
    assert_eq!(
        saga.sent.last().unwrap(),
        "reserve-stock#6",
        "{:?}",
        saga.sent
    );
}

#[test]
fn only_what_the_plan_lets_go_is_skipped() {
    let mut saga = Saga::start();
    saga.done(&[RESERVE, CHARGE, SHIP]);
    assert_eq!(
        saga.verb(Verb::Skip { step: COMMIT }),
        Some(Rule::NotSkippable)
    );
    assert_eq!(saga.verb(Verb::Skip { step: 9 }), Some(Rule::NoSuchStep));
    assert_eq!(saga.verb(Verb::Skip { step: CONFIRM }), None);
    assert_eq!(saga.standing(COMMIT), Standing::Unknown);
    saga.done(&[COMMIT]);
    assert_eq!(saga.state.status, Status::Completed);
    assert_eq!(saga.standing(CONFIRM), Standing::Waived);
}

#[test]
fn an_abandoned_case_rests_and_keeps_its_list() {
    let mut saga = cannot_refund();
    assert_eq!(saga.verb(Verb::Abandon), None);
    saga.reply(CHARGE, Direction::Backward, Answer::Undone);
    assert_eq!(saga.standing(CHARGE), Standing::Netted);
    assert_eq!(saga.standing(RESERVE), Standing::Done);
    assert_eq!(saga.state.status, Status::NeedsAttention(Need::Backward));
    assert_eq!(saga.state.closed, Some(Disposition::Abandoned));
    assert_eq!(saga.verb(Verb::Abandon), Some(Rule::CaseClosed));
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

#[test]
fn nothing_is_sent_forward_by_the_timer_that_turns_the_saga_back() {
    let beside = |name: &str| {
        let step = step(name).at(name).after(["open-order"]);
        step.compensatable::<Reserve, Release>().token(name)
    };
    let plan = Plan::new("beside", 1)
        .input::<Input_>()
        .opened_by(
            step("open-order")
                .at("order")
                .undo::<Reject>()
                .token("order"),
        )
        .step(beside("left"))
        .step(beside("right"))
        .build()
        .unwrap();
    let now = DbTime(1_000_000);
    let mut state = next(&plan, &State::new(&plan), &Input::Start, now).state;
    let due = |n| {
        StepState::Backoff(Attempt {
            n,
            base: 0,
            since: now,
            until: now,
        })
    };
    state.steps[1] = due(1);
    state.steps[2] = due(plan.steps()[2].retry.attempts_max);
    let after = next(&plan, &state, &Input::Due, now);
    assert!(after.state.cause.is_some());
    let forward = |effect: &Effect| matches!(effect, Effect::Send(command) if command.direction == Direction::Forward);
    assert!(!after.effects.iter().any(forward), "{:?}", after.effects);
}
