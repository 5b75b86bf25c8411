use std::collections::BTreeSet;

use chrono::TimeDelta;
use palinode_db::{Error, Tx};
use palinode_messaging::SagaHeaders;
use palinode_participant::{Decided, Outcome, Task};
use palinode_saga::Direction;
use palinode_saga::guard::Pending;
use palinode_values::{Clock, PaymentId, RefundId, Timestamp};
use uuid::Uuid;

use crate::convert;
use crate::domain::{
    Asked, Back, Book, Command, Decision, Method, Payment, Reason, Request, Requester, Source,
    State,
};
use crate::store::batch::{Change, Work};
use crate::store::intents::{Call, For, Intent};
use crate::store::{batch, intents};

/// When an answer of the card processor is expected at the latest.
const CARD_ANSWER: TimeDelta = TimeDelta::seconds(10);

/// What came of a batch of commands.
#[derive(Debug)]
pub(crate) struct Ran {
    /// One for each command, same order.
    pub(crate) decided: Vec<Decided>,
    /// Whether the card processor is to be called.
    pub(crate) asks_processor: bool,
}

/// What comes of a command if nothing stands in its way.
pub(crate) fn expected(task: &Task<'_, Command>, now: Timestamp) -> Option<Outcome> {
    match request(task) {
        Request::Charge(payment) if payment.source == Source::Wallet => Some(Outcome::Done {
            output: Some(convert::charge_output(&payment)),
        }),
        Request::Charge(_) => Some(Outcome::Pending {
            until: now + CARD_ANSWER,
            how: Pending::Called,
        }),
        // of a card it takes longer: that stands with the payment
        Request::Refund(..) | Request::RefundPart(..) => {
            (task.direction == Direction::Backward).then_some(Outcome::Undone)
        }
    }
}

/// Does a batch of commands in the open transaction: wallets here and now; for cards the intents
/// are written, from which the calls are made after the commit.
pub(crate) async fn run_commands(
    mut tx: Tx,
    clock: &Clock,
    tasks: &[Task<'_, Command>],
    now: Timestamp,
) -> Result<(Tx, Ran), Error> {
    let requests: Vec<Request> = tasks.iter().map(request).collect();
    let mut book = open_book(&mut tx, &requests).await?;
    let decisions = book.decide(&requests);
    let intents: Vec<Intent> = tasks
        .iter()
        .zip(&decisions)
        .filter_map(|(task, decision)| intent(task, decision))
        .collect();

    let changed = book.changed();
    let change = |(payment, expected)| Change {
        payment,
        expected,
        reference: None,
    };
    let work = Work {
        deltas: book.deltas().collect(),
        inserted: book.inserted(),
        changes: changed.into_iter().map(change).collect(),
        transfers: book.transfers(),
        refunds: book.refunds(),
        ended: &[],
    };
    batch::write(&mut tx, clock, &work).await?;
    intents::insert(&mut tx, &intents).await?;

    let decided = decisions
        .into_iter()
        .zip(tasks)
        .map(|(decision, task)| decided(decision, task.direction, now))
        .collect();
    Ok((
        tx,
        Ran {
            decided,
            asks_processor: !intents.is_empty(),
        },
    ))
}

fn request(task: &Task<'_, Command>) -> Request {
    match task.command {
        Command::Refund {
            order_id,
            payment_id,
        } => Request::Refund(
            *order_id,
            *payment_id,
            asked(RefundId(task.new_id), task.saga),
        ),
        Command::Charge {
            order_id,
            user_id,
            method,
            total,
        } => Request::Charge(Payment {
            id: PaymentId(task.new_id),
            order_id: *order_id,
            saga_id: task.saga.saga_id,
            user_id: user_id.clone(),
            amount: *total,
            source: match method {
                Method::Wallet => Source::Wallet,
                Method::Card { token } => Source::Card {
                    token: token.clone(),
                    key: task.step_key(),
                },
            },
            state: State::Pending,
            back: Back::default(),
        }),
    }
}

/// What a saga wants back: all that is left.
pub(super) fn asked(id: RefundId, saga: &SagaHeaders) -> Asked {
    Asked {
        id,
        amount: None,
        reason: format!("{} of {}", saga.step, saga.plan),
        requested_by: Requester::Saga(saga.saga_id),
    }
}

/// Locks what the requests are about: payments by order, then wallets by user.
pub(super) async fn open_book(tx: &mut Tx, requests: &[Request]) -> Result<Book, Error> {
    let orders: BTreeSet<Uuid> = requests
        .iter()
        .map(|request| match request {
            Request::Charge(payment) => payment.order_id.0,
            Request::Refund(order, ..) | Request::RefundPart(order, _) => order.0,
        })
        .collect();
    let users: BTreeSet<&str> = requests
        .iter()
        .filter_map(|request| match request {
            Request::Charge(payment) if payment.source == Source::Wallet => {
                Some(payment.user_id.as_str())
            }
            Request::Charge(_) | Request::Refund(..) | Request::RefundPart(..) => None,
        })
        .collect();
    let orders: Vec<Uuid> = orders.into_iter().collect();
    let users: Vec<&str> = users.into_iter().collect();
    let (stored, wallets) = batch::lock(tx, &orders, &users).await?;
    Ok(Book::new(wallets, stored))
}

fn intent(task: &Task<'_, Command>, decision: &Decision) -> Option<Intent> {
    let (payment, call) = match decision {
        Decision::AskCharge(payment) => (payment, Call::Charge),
        Decision::AskRefund(payment, refund) => (payment, Call::of(refund)),
        Decision::Captured(_)
        | Decision::Declined(..)
        | Decision::Refunded(..)
        | Decision::AlreadyBack
        | Decision::Refused(_)
        | Decision::NothingToRefund(_)
        | Decision::UnderWay(_)
        | Decision::RefundRefused(..) => return None,
    };
    Some(Intent {
        key: task.step_key(),
        payment_id: payment.id,
        call,
        of: For::Step {
            saga_id: task.saga.saga_id,
            step: task.saga.step.clone(),
            direction: task.direction,
        },
    })
}

fn decided(decision: Decision, direction: Direction, now: Timestamp) -> Decided {
    match decision {
        Decision::Captured(payment) => Decided {
            outcome: Outcome::Done {
                output: Some(convert::charge_output(&payment)),
            },
            events: vec![convert::charged(&payment)],
        },
        Decision::Declined(payment, reason) => Decided {
            outcome: Outcome::Failed {
                reason: reason.as_str().to_owned(),
                detail: words(&payment, reason),
            },
            events: vec![convert::declined(&payment, reason)],
        },
        Decision::AskCharge(_) | Decision::AskRefund(..) => Decided::quietly(Outcome::Pending {
            until: now + CARD_ANSWER,
            how: Pending::Called,
        }),
        Decision::Refunded(payment, refund) => Decided {
            outcome: convert::given_back(direction),
            events: vec![convert::refunded(&payment, refund.id, refund.amount)],
        },
        Decision::AlreadyBack => Decided::quietly(convert::given_back(direction)),
        Decision::Refused(reason) => Decided::quietly(Outcome::Failed {
            reason: reason.as_str().to_owned(),
            detail: "the order has a payment of another saga".to_owned(),
        }),
        Decision::NothingToRefund(detail) => Decided::quietly(convert::not_given_back(
            direction,
            Reason::NotCaptured,
            detail,
        )),
        Decision::UnderWay(detail) => Decided::quietly(Outcome::Transient { detail }),
        Decision::RefundRefused(reason, detail) => {
            Decided::quietly(convert::not_given_back(direction, reason, detail))
        }
    }
}

fn words(payment: &Payment, reason: Reason) -> String {
    let Payment {
        user_id, amount, ..
    } = payment;
    match reason {
        Reason::InsufficientFunds => format!("the wallet of {user_id} holds less than {amount}"),
        Reason::NoWallet => format!("{user_id} has no wallet"),
        Reason::WalletClosed => format!("the wallet of {user_id} is closed"),
        Reason::CurrencyMismatch => {
            format!("the wallet of {user_id} is not kept in {}", amount.currency)
        }
        Reason::CardDeclined
        | Reason::AlreadyCharged
        | Reason::RefundDeclined
        | Reason::NotCaptured
        | Reason::RefundExceedsCharge
        | Reason::KeyReused
        | Reason::PaymentNotFound => format!("the payment of {amount} was declined"),
    }
}
