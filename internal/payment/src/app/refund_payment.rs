use std::slice;
use std::sync::Arc;

use palinode_db::{Db, Error as DbError, Tx};
use palinode_outbox::{Doorbell, Held, append};
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, PaymentId, RefundId, UserId};
use tokio::sync::Notify;

use crate::app::run_commands::open_book;
use crate::app::{Error, SERVICE, unsayable};
use crate::convert;
use crate::domain::{Asked, Decision, Reason, Request};
use crate::store::batch::{self, Change, Work};
use crate::store::intents::{self, Call, For, Intent};
use crate::store::payments;
use crate::store::refunds::{self, Kept, Key};

/// What requests are answered with.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    /// Rings for the calls to the card processor.
    pub(crate) bell: Arc<Notify>,
    /// Rings for the outbox.
    pub(crate) doorbell: Doorbell,
}

/// Gives back what is asked for of a payment: to a wallet here and now; for a card the intent is written,
/// from which the call is made after the commit.
///
/// With the `key` of a user, a repeat of the same request gives back nothing, and is answered with the same
/// refund as it is then.
///
/// # Errors
/// `PAYMENT_NOT_FOUND`. `NOT_CAPTURED`: no money was taken. `REFUND_EXCEEDS_CHARGE`: less is left.
/// `CURRENCY_MISMATCH`. `IDEMPOTENCY_KEY_REUSED`: the key came with another request.
pub(crate) async fn refund_payment(
    desk: &Desk,
    id: PaymentId,
    asked: &Asked,
    key: Option<(&UserId, &str)>,
    trace: &TraceContext,
) -> Result<Kept, Error> {
    let (kept, asks_processor) = desk
        .db
        .run_tx("payment.refund", async |mut tx| {
            if let Some(key) = key {
                match refunds::take_key(&mut tx, key, id, asked).await? {
                    Key::New => {}
                    Key::Repeated(refund) => {
                        let kept = kept(&mut tx, id, refund).await?;
                        return Ok((tx, (kept, false)));
                    }
                    Key::Reused => {
                        let words = "the idempotency key came with another request before";
                        return Err(Error::refused(Reason::KeyReused, words));
                    }
                }
            }
            give_back(tx, desk, id, asked, trace).await
        })
        .await?;
    desk.doorbell.ring();
    if asks_processor {
        desk.bell.notify_one();
    }
    Ok(kept)
}

/// The refund, and whether the card processor is to be called.
async fn give_back(
    mut tx: Tx,
    desk: &Desk,
    id: PaymentId,
    asked: &Asked,
    trace: &TraceContext,
) -> Result<(Tx, (Kept, bool)), Error> {
    let missing = || {
        let words = format!("there is no payment {id}");
        Error::refused(Reason::PaymentNotFound, words)
    };
    // which order it is of never changes
    let order = payments::order_of(&mut tx, id).await?.ok_or_else(missing)?;
    let requests = [Request::RefundPart(order, asked.clone())];
    let mut book = open_book(&mut tx, &requests).await?;
    let decision = book.decide(&requests).pop().ok_or_else(missing)?;
    let (mut intent, mut event) = (None, None);
    match decision {
        Decision::Refunded(payment, refund) => {
            let about = (refund.id, refund.amount);
            event = Some(convert::refunded_for_a_caller(
                &payment,
                about,
                &desk.clock,
                trace,
            ));
        }
        Decision::AskRefund(payment, refund) => {
            intent = Some(Intent {
                key: refund.id.0,
                payment_id: payment.id,
                call: Call::of(&refund),
                of: For::Caller(trace.clone()),
            });
        }
        Decision::RefundRefused(reason, words) => return Err(Error::refused(reason, words)),
        Decision::Captured(_)
        | Decision::Declined(..)
        | Decision::AskCharge(_)
        | Decision::AlreadyBack
        | Decision::Refused(_)
        | Decision::NothingToRefund(_)
        | Decision::UnderWay(_) => return Err(missing()),
    }
    let change = |(payment, expected)| Change {
        payment,
        expected,
        reference: None,
    };
    let work = Work {
        deltas: book.deltas().collect(),
        changes: book.changed().into_iter().map(change).collect(),
        transfers: book.transfers(),
        refunds: book.refunds(),
        ..Work::default()
    };
    batch::write(&mut tx, &desk.clock, &work).await?;
    if let Some(intent) = &intent {
        intents::insert(&mut tx, slice::from_ref(intent)).await?;
    }
    if let Some(event) = event {
        let held = Held::by_lock(&tx, [event.key.clone()]);
        append(&mut tx, &held, slice::from_ref(&event), SERVICE)
            .await
            .map_err(unsayable)?;
    }
    let kept = kept(&mut tx, id, asked.id).await?;
    Ok((tx, (kept, intent.is_some())))
}

async fn kept(tx: &mut Tx, payment: PaymentId, refund: RefundId) -> Result<Kept, Error> {
    let found = refunds::find(tx.conn(), payment, refund).await?;
    let missing = || DbError::inconsistent("refund", "id", refund, "is gone");
    Ok(found.ok_or_else(missing)?)
}
