//! The participant guard: at most one effect for each saga, step and direction.
//!
//! A pure function over one row; `participant` keeps the row in the transaction of the effect, and
//! simulators call the same function. Source: the guard's table in the saga semantics.

/// What is known of the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Not seen. A participant moves it on when the action arrives.
    None,
    /// Taken up: waiting in a queue, or called outside. Settled by the participant's own sweep.
    Pending(Pending),
    /// The effect happened.
    Done,
    /// The verdict is no: no effect, now or later.
    Failed,
    /// It will never be done: its compensation or a probe came first.
    Closed,
}

/// How an action is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pending {
    /// In a queue of the participant's own; it can be taken out.
    Queued,
    /// A call to an external system is out; only its answer settles it.
    Called,
}

/// What is known of the compensation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comp {
    /// Not seen.
    None,
    /// Taken up; waits for an external system.
    Pending,
    /// Done, or there was nothing to take back.
    Done,
    /// Shut by a resolve: it will never be done.
    Closed,
}

/// A row of the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    /// The action.
    pub act: Act,
    /// The compensation.
    pub comp: Comp,
}

/// A command as it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// The action; `same_body` compares it with the stored hash, and is true where there is none.
    Action {
        /// Whether the body is that of the first arrival.
        same_body: bool,
    },
    /// The compensation.
    Compensation,
    /// A probe of the action: say what happened; if nothing has, make sure that it never will.
    Probe,
    /// A probe of the compensation, before an operator's word is taken for it.
    UndoProbe,
}

/// What the participant does with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Run the action; store and answer its outcome.
    RunAction,
    /// Take the effect back; store `Undone`, or answer `CannotUndo` with the row unchanged.
    RunCompensation,
    /// Answer what was stored for the action, unchanged.
    ReplayAction,
    /// Answer what was stored for the compensation, unchanged.
    ReplayCompensation,
    /// Answer `Pending`; the real answer follows.
    Pending,
    /// Remember that the compensation is wanted; answer `Pending`. Whoever settles the call undoes.
    AwaitThenUndo,
    /// Store the row; answer `UndoneEmpty`. The door is shut: a late action will be refused.
    Tombstone(Row),
    /// Store the row; answer `NotDone`. The door is shut.
    Close(Row),
    /// Answer `NotDone`; the row stays.
    NotDone,
    /// Answer `Refused(closed)`.
    RefuseClosed,
    /// Answer `Refused(mismatch)`: the same step with another body.
    RefuseMismatch,
}

impl Row {
    /// The row of a step of which nothing was heard.
    pub const NEW: Self = Self {
        act: Act::None,
        comp: Comp::None,
    };
}

/// Decides what becomes of a command. Total: every arrival at every row has a verdict.
#[must_use]
pub fn decide(row: Row, arrival: Arrival) -> Verdict {
    let closed = Row {
        act: Act::Closed,
        comp: Comp::Done,
    };
    match (row.act, row.comp, arrival) {
        // a compensation that was asked for shuts the door for the action
        (_, Comp::Pending | Comp::Done | Comp::Closed, Arrival::Action { .. }) => {
            Verdict::RefuseClosed
        }
        (_, Comp::Pending, Arrival::Compensation | Arrival::Probe | Arrival::UndoProbe)
        | (Act::Pending(Pending::Called), Comp::None, Arrival::UndoProbe) => Verdict::Pending,
        (_, Comp::Done, Arrival::Compensation | Arrival::UndoProbe) => Verdict::ReplayCompensation,
        (_, Comp::Closed, Arrival::UndoProbe) => Verdict::NotDone,
        (Act::None | Act::Pending(Pending::Queued), Comp::None, Arrival::UndoProbe) => {
            Verdict::Close(Row {
                act: Act::Closed,
                comp: Comp::Closed,
            })
        }
        (_, Comp::None, Arrival::UndoProbe) => Verdict::Close(Row {
            act: row.act,
            comp: Comp::Closed,
        }),
        (_, Comp::Done, Arrival::Probe) => Verdict::NotDone,
        (_, Comp::Closed, Arrival::Compensation) => Verdict::RefuseClosed,
        (Act::Done, Comp::Closed, Arrival::Probe) => Verdict::ReplayAction,
        (_, Comp::Closed, Arrival::Probe) => Verdict::NotDone,

        (Act::None, Comp::None, Arrival::Action { .. }) => Verdict::RunAction,
        (Act::None, Comp::None, Arrival::Compensation) => Verdict::Tombstone(closed),
        (Act::None, Comp::None, Arrival::Probe) => Verdict::Close(Row {
            act: Act::Closed,
            comp: Comp::None,
        }),

        (_, Comp::None, Arrival::Action { same_body: false }) => Verdict::RefuseMismatch,

        (Act::Pending(_), Comp::None, Arrival::Action { .. })
        | (Act::Pending(Pending::Called), Comp::None, Arrival::Probe) => Verdict::Pending,
        (Act::Pending(Pending::Queued), Comp::None, Arrival::Compensation) => {
            Verdict::Tombstone(closed)
        }
        (Act::Pending(Pending::Queued), Comp::None, Arrival::Probe) => Verdict::Close(Row {
            act: Act::Closed,
            comp: Comp::None,
        }),
        (Act::Pending(Pending::Called), Comp::None, Arrival::Compensation) => {
            Verdict::AwaitThenUndo
        }

        (Act::Done, Comp::None, Arrival::Action { .. } | Arrival::Probe)
        | (Act::Failed, Comp::None, Arrival::Action { .. }) => Verdict::ReplayAction,
        (Act::Done, Comp::None, Arrival::Compensation) => Verdict::RunCompensation,

        (Act::Failed | Act::Closed, Comp::None, Arrival::Compensation) => Verdict::Tombstone(Row {
            act: row.act,
            comp: Comp::Done,
        }),
        (Act::Closed, Comp::None, Arrival::Action { .. }) => Verdict::RefuseClosed,
        (Act::Failed | Act::Closed, Comp::None, Arrival::Probe) => Verdict::NotDone,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// Where the table stands for readers; `WRITE_DOCS=1` writes it anew.
    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/guard.md");
    const MARK: &str =
        "<!-- written by a test from here on: WRITE_DOCS=1 cargo test -p palinode-saga guard -->\n";

    fn words(verdict: Verdict) -> String {
        let row = |row: Row| format!("{}/{}", act(row.act), comp(row.comp));
        match verdict {
            Verdict::RunAction => "**run it**; store `done`, `failed` or `pending`".to_owned(),
            Verdict::RunCompensation => "**undo it**; store `done`, answer `Undone`".to_owned(),
            Verdict::ReplayAction | Verdict::ReplayCompensation => {
                "answer what is stored".to_owned()
            }
            Verdict::Pending => "`Pending`".to_owned(),
            Verdict::AwaitThenUndo => {
                "store `pending`, `Pending`; undo when it is settled".to_owned()
            }
            Verdict::Tombstone(after) => format!("store {}, `UndoneEmpty`", row(after)),
            Verdict::Close(after) => format!("store {}, `NotDone`", row(after)),
            Verdict::NotDone => "`NotDone`".to_owned(),
            Verdict::RefuseClosed => "`Refused(closed)`".to_owned(),
            Verdict::RefuseMismatch => "`Refused(mismatch)`".to_owned(),
        }
    }

    fn act(act: Act) -> &'static str {
        match act {
            Act::None => "none",
            Act::Pending(Pending::Queued) => "pending (queued)",
            Act::Pending(Pending::Called) => "pending (called)",
            Act::Done => "done",
            Act::Failed => "failed",
            Act::Closed => "closed",
        }
    }

    fn comp(comp: Comp) -> &'static str {
        match comp {
            Comp::None => "none",
            Comp::Pending => "pending",
            Comp::Done => "done",
            Comp::Closed => "closed",
        }
    }

    #[test]
    fn every_arrival_at_every_row_has_a_verdict() {
        let acts = [
            Act::None,
            Act::Pending(Pending::Queued),
            Act::Pending(Pending::Called),
            Act::Done,
            Act::Failed,
            Act::Closed,
        ];
        let arrivals = [
            Arrival::Action { same_body: true },
            Arrival::Action { same_body: false },
            Arrival::Compensation,
            Arrival::Probe,
            Arrival::UndoProbe,
        ];
        let mut table = String::from(
            "| action / compensation | the action | the action, another body | the compensation \
             | a probe of the action | a probe of the compensation |\n|---|---|---|---|---|---|\n",
        );
        for one in acts {
            for other in [Comp::None, Comp::Pending, Comp::Done, Comp::Closed] {
                if one == Act::None && other != Comp::None {
                    continue; // forbidden by the table's CHECK
                }
                write!(table, "| {} / {} |", act(one), comp(other)).unwrap();
                for arrival in arrivals {
                    let row = Row {
                        act: one,
                        comp: other,
                    };
                    write!(table, " {} |", words(decide(row, arrival))).unwrap();
                }
                table.push('\n');
            }
        }
        let page = std::fs::read_to_string(PAGE).unwrap();
        let (head, written) = page.split_once(MARK).unwrap();
        if std::env::var_os("WRITE_DOCS").is_some() {
            std::fs::write(PAGE, format!("{head}{MARK}{table}")).unwrap();
            return;
        }
        assert!(
            written == table,
            "the guard has changed: run `WRITE_DOCS=1 cargo test -p palinode-saga guard`"
        );
    }

    #[test]
    fn after_a_compensation_no_action_runs() {
        for act in [
            Act::Done,
            Act::Failed,
            Act::Closed,
            Act::Pending(Pending::Called),
        ] {
            for comp in [Comp::Pending, Comp::Done, Comp::Closed] {
                let late = decide(Row { act, comp }, Arrival::Action { same_body: true });
                assert_eq!(late, Verdict::RefuseClosed);
            }
        }
    }
}
