use std::collections::{BTreeMap, HashMap};

use palinode_db::{Db, Error, Tx};
use palinode_messaging::Record;
use palinode_outbox::{Held, append};
use palinode_participant::{Outcome, Settled, Settlement, settle, step_key};
use palinode_saga::Direction;
use palinode_values::{Clock, PaymentId, RefundId};
use uuid::Uuid;

use crate::app::run_commands::asked;
use crate::app::{SERVICE, unsayable};
use crate::clients::Answer;
use crate::convert;
use crate::domain::{Event, Payment, Reason, Refund, RefundState, State, Transfer};
use crate::store::batch::{self, Change};
use crate::store::intents::{Call, Due, For, Intent};
use crate::store::{intents, refunds};

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
    let settlements: Vec<Settlement> = answered.iter().filter_map(settlement).collect();
    let (mut tx, settled) = settle(tx, SERVICE, clock, &settlements).await?;
    let mut settled = settled.into_iter();
    let asked: Vec<&Intent> = answered.iter().map(|a| &a.due.intent).collect();
    let mut work = Work::new(clock, intents::lock(&mut tx, &asked).await?);
    for answered in answered {
        let settled = match answered.due.intent.of {
            For::Step { .. } => settled.next(),
            For::Caller(_) => None,
        };
        work.add(answered, settled)?;
    }
    let transfers = &work.transfers;
    let written = batch::Work {
        changes: work
            .changes
            .values()
            .map(|(payment, expected, reference)| Change {
                payment,
                expected,
                reference: *reference,
            })
            .collect(),
        transfers,
        refunds: &work.refunds,
        ended: &work.ended,
        ..batch::Work::default()
    };
    batch::write(&mut tx, clock, &written).await?;
    refunds::forget(&mut tx, &work.asked_again).await?;
    intents::delete(&mut tx, &work.finished).await?;
    intents::insert(&mut tx, &work.undo).await?;
    let held = Held::by_lock(&tx, work.records.iter().map(|record| record.key.clone()));
    append(&mut tx, &held, &work.records, SERVICE)
        .await
        .map_err(unsayable)?;
    Ok(tx)
}

/// What is to be written.
struct Work<'a> {
    clock: &'a Clock,
    /// Payments whose intents are open, by the intent's key.
    open: HashMap<Uuid, PaymentId>,
    /// As it stands.
    stored: HashMap<PaymentId, Payment>,
    /// As it is to be, as it stands, and the processor's reference of the charge.
    changes: BTreeMap<PaymentId, (Payment, State, Option<&'a str>)>,
    transfers: Vec<Transfer>,
    finished: Vec<&'a Intent>,
    undo: Vec<Intent>,
    /// New ones, of those undos.
    refunds: Vec<Refund>,
    ended: Vec<(PaymentId, RefundId, RefundState)>,
    /// Refunds of sagas that were declined.
    asked_again: Vec<(PaymentId, RefundId)>,
    /// Events that go with no settlement.
    records: Vec<Record>,
}

impl<'a> Work<'a> {
    fn new(clock: &'a Clock, locked: Vec<(Uuid, Payment)>) -> Self {
        Self {
            clock,
            open: locked.iter().map(|(key, p)| (*key, p.id)).collect(),
            stored: locked.into_iter().map(|(_, p)| (p.id, p)).collect(),
            changes: BTreeMap::new(),
            transfers: Vec::new(),
            finished: Vec::new(),
            undo: Vec::new(),
            refunds: Vec::new(),
            ended: Vec::new(),
            asked_again: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Takes over an answer, and what became of the step that waited for it, if one did.
    fn add(&mut self, answered: &'a Answered, settled: Option<Settled>) -> Result<(), Error> {
        let intent = &answered.due.intent;
        let Some(id) = self.open.remove(&intent.key) else {
            return Ok(());
        };
        // of two refunds of one payment, the second sees the first
        if let Some(stored) = self.stored.remove(&id) {
            let expected = stored.state.clone();
            self.changes.insert(id, (stored, expected, None));
        }
        let Some((payment, _, reference)) = self.changes.get_mut(&id) else {
            return Ok(());
        };
        match (intent.call, &answered.answer) {
            (Call::Charge, Answer::Approved { reference: charge }) => {
                apply(payment, Event::Taken)?;
                self.transfers.push(Transfer::charge(payment));
                *reference = Some(charge.as_str());
            }
            (Call::Charge, Answer::Declined { .. }) => {
                apply(payment, Event::Refused(Reason::CardDeclined))?;
            }
            (Call::Refund { id, amount }, Answer::Approved { .. }) => {
                apply(payment, Event::PaidBack(amount.minor))?;
                self.transfers.push(Transfer::refund(payment, id, amount));
                self.ended.push((payment.id, id, RefundState::Done));
                if let For::Caller(trace) = &intent.of {
                    let about = (id, amount);
                    let event = convert::refunded_for_a_caller(payment, about, self.clock, trace);
                    self.records.push(event);
                }
            }
            (Call::Refund { id, amount }, Answer::Declined { .. }) => {
                apply(payment, Event::RefundRefused(amount.minor))?;
                match intent.of {
                    For::Caller(_) => self.ended.push((payment.id, id, RefundState::Declined)),
                    For::Step { .. } => self.asked_again.push((payment.id, id)),
                }
            }
        }
        match settled {
            None | Some(Settled::Replied) => {}
            Some(Settled::UndoWanted { saga }) => {
                let left = payment.left();
                apply(payment, Event::RefundAsked(left.minor))?;
                let refund = asked(RefundId::new(self.clock), &saga);
                let refund = refund.over(payment.id, left, RefundState::Pending);
                self.undo.push(Intent {
                    key: step_key(saga.saga_id, &saga.step, Direction::Backward),
                    payment_id: payment.id,
                    call: Call::of(&refund),
                    of: For::Step {
                        saga_id: saga.saga_id,
                        step: saga.step,
                        direction: Direction::Backward,
                    },
                });
                self.refunds.push(refund);
            }
            Some(Settled::AlreadySettled) => tracing::error!(
                key = %intent.key,
                payment = %payment.id,
                kind = intent.call.as_str(),
                answer = ?answered.answer,
                "the card processor answered, but the step does not wait for it any more"
            ),
        }
        self.finished.push(intent);
        Ok(())
    }
}

fn apply(payment: &mut Payment, event: Event) -> Result<(), Error> {
    payment
        .apply(event)
        .map_err(|illegal| Error::inconsistent("payment", "state", payment.id, illegal))
}

/// What the answer says to a step; `None`: no step waits for it.
fn settlement(answered: &Answered) -> Option<Settlement> {
    let Due {
        intent, payment, ..
    } = &answered.due;
    let For::Step {
        saga_id,
        step,
        direction,
    } = &intent.of
    else {
        return None;
    };
    let (outcome, events) = match (intent.call, &answered.answer) {
        (Call::Charge, Answer::Approved { .. }) => (
            Outcome::Done {
                output: Some(convert::charge_output(payment)),
            },
            vec![convert::charged(payment)],
        ),
        (Call::Charge, Answer::Declined { code }) => (
            Outcome::Failed {
                reason: Reason::CardDeclined.as_str().to_owned(),
                detail: format!("the card processor declined {}: {code}", payment.amount),
            },
            vec![convert::declined(payment, Reason::CardDeclined)],
        ),
        (Call::Refund { id, amount }, Answer::Approved { .. }) => (
            convert::given_back(*direction),
            vec![convert::refunded(payment, id, amount)],
        ),
        (Call::Refund { amount, .. }, Answer::Declined { code }) => {
            let detail = format!("the card processor will not pay {amount} back: {code}");
            let outcome = convert::not_given_back(*direction, Reason::RefundDeclined, detail);
            (outcome, Vec::new())
        }
    };
    Some(Settlement {
        saga_id: *saga_id,
        step: step.clone(),
        direction: *direction,
        outcome,
        events,
    })
}
