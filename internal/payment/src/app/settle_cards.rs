use std::collections::HashMap;

use palinode_db::{Db, Error, Tx};
use palinode_participant::{Outcome, Settled, Settlement, settle, step_key};
use palinode_saga::Direction;
use palinode_values::Clock;

use crate::clients::Answer;
use crate::convert;
use crate::domain::{Event, Payment, Reason, State, Transfer};
use crate::store::batch::{self, Change};
use crate::store::intents;
use crate::store::intents::{Due, Intent, Kind};

/// A call that was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) due: Due,
    pub(crate) answer: Answer,
}

/// Writes what the card processor answered: states, ledger, replies and events, in one
/// transaction. What another process settled first is left alone.
///
/// # Errors
/// Nothing was written; the intents are due again when their leases end.
pub(crate) async fn settle_cards(
    db: &Db,
    clock: &Clock,
    answered: &[Answered],
) -> Result<(), Error> {
    db.run_tx("payment.settle_cards", async |tx| {
        Ok((settle_in(tx, clock, answered).await?, ()))
    })
    .await
}

async fn settle_in(tx: Tx, clock: &Clock, answered: &[Answered]) -> Result<Tx, Error> {
    // guard rows first, then business rows: the order in which a batch of commands locks
    let settlements: Vec<Settlement> = answered.iter().map(settlement).collect();
    let (mut tx, settled) = settle(tx, "payment", clock, &settlements).await?;
    let asked: Vec<&Intent> = answered.iter().map(|a| &a.due.intent).collect();
    let mut open: HashMap<_, _> = intents::lock(&mut tx, &asked)
        .await?
        .into_iter()
        .map(|(kind, payment)| ((payment.id, kind), payment))
        .collect();

    let mut work = Work::default();
    for (answered, settled) in answered.iter().zip(settled) {
        let intent = &answered.due.intent;
        if let Some(payment) = open.remove(&(intent.payment_id, intent.kind)) {
            work.add(payment, answered, settled)?;
        }
    }
    let written = batch::Work {
        changes: work
            .changes
            .iter()
            .map(|(payment, expected, reference)| Change {
                payment,
                expected,
                reference: *reference,
            })
            .collect(),
        transfers: &work.transfers,
        ..batch::Work::default()
    };
    batch::write(&mut tx, clock, &written).await?;
    intents::delete(&mut tx, &work.finished).await?;
    intents::insert(&mut tx, &work.undo).await?;
    Ok(tx)
}

/// What is to be written.
#[derive(Default)]
struct Work<'a> {
    /// As it is to be, as it stands, and the processor's reference of the charge.
    changes: Vec<(Payment, State, Option<&'a str>)>,
    transfers: Vec<Transfer>,
    finished: Vec<&'a Intent>,
    undo: Vec<Intent>,
}

impl<'a> Work<'a> {
    fn add(
        &mut self,
        mut payment: Payment,
        answered: &'a Answered,
        settled: Settled,
    ) -> Result<(), Error> {
        let intent = &answered.due.intent;
        let expected = payment.state.clone();
        let mut reference = None;
        match (intent.kind, &answered.answer) {
            (Kind::Charge, Answer::Approved { reference: charge }) => {
                apply(&mut payment, Event::Taken)?;
                self.transfers.push(Transfer::charge(&payment));
                reference = Some(charge.as_str());
            }
            (Kind::Charge, Answer::Declined { .. }) => {
                apply(&mut payment, Event::Refused(Reason::CardDeclined))?;
            }
            (Kind::Refund, Answer::Approved { .. }) => {
                apply(&mut payment, Event::PaidBack)?;
                self.transfers.push(Transfer::refund(&payment));
            }
            (Kind::Refund, Answer::Declined { .. }) => {
                apply(&mut payment, Event::RefundRefused)?;
            }
        }
        match settled {
            Settled::Replied => {}
            Settled::UndoWanted { saga } => {
                apply(&mut payment, Event::RefundAsked)?;
                self.undo.push(Intent {
                    payment_id: payment.id,
                    kind: Kind::Refund,
                    direction: Direction::Backward,
                    step_key: step_key(saga.saga_id, &saga.step, Direction::Backward),
                    saga_id: saga.saga_id,
                    step: saga.step,
                });
            }
            Settled::AlreadySettled => tracing::error!(
                saga = %intent.saga_id,
                payment = %payment.id,
                kind = intent.kind.as_str(),
                answer = ?answered.answer,
                "the card processor answered, but the step does not wait for it any more"
            ),
        }
        self.changes.push((payment, expected, reference));
        self.finished.push(intent);
        Ok(())
    }
}

fn apply(payment: &mut Payment, event: Event) -> Result<(), Error> {
    payment
        .apply(event)
        .map_err(|illegal| Error::inconsistent("payment", "state", payment.id, illegal))
}

fn settlement(answered: &Answered) -> Settlement {
    let Due {
        intent, payment, ..
    } = &answered.due;
    let (outcome, events) = match (intent.kind, &answered.answer) {
        (Kind::Charge, Answer::Approved { .. }) => (
            Outcome::Done {
                output: Some(convert::charge_output(payment)),
            },
            vec![convert::charged(payment)],
        ),
        (Kind::Charge, Answer::Declined { code }) => (
            Outcome::Failed {
                reason: Reason::CardDeclined.as_str().to_owned(),
                detail: format!("the card processor declined {}: {code}", payment.amount),
            },
            vec![convert::declined(payment, Reason::CardDeclined)],
        ),
        (Kind::Refund, Answer::Approved { .. }) => (
            convert::given_back(intent.direction),
            vec![convert::refunded(payment)],
        ),
        (Kind::Refund, Answer::Declined { code }) => {
            let detail = format!(
                "the card processor will not pay {} back: {code}",
                payment.amount
            );
            let outcome = convert::not_given_back(intent.direction, Reason::RefundDeclined, detail);
            (outcome, Vec::new())
        }
    };
    Settlement {
        saga_id: intent.saga_id,
        step: intent.step.clone(),
        direction: intent.direction,
        outcome,
        events,
    }
}
