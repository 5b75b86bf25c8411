//! The two statements of a batch: one that locks, one that writes.

use palinode_db::{Error, Tx};
use palinode_values::{Clock, LedgerEntryId, PaymentId, RefundId, UserId};
use uuid::Uuid;

use super::{payments, wallets};
use crate::domain::{Payment, Refund, RefundState, Source, State, Transfer, Wallet};

/// What a batch comes to.
#[derive(Debug, Default)]
pub(crate) struct Work<'a> {
    /// What each wallet gains or loses in minor units; their rows are locked.
    pub(crate) deltas: Vec<(&'a UserId, i64)>,
    /// New payments: of wallets, settled, and of cards, pending.
    pub(crate) inserted: Vec<&'a Payment>,
    pub(crate) changes: Vec<Change<'a>>,
    /// In the order of arrival; each is two entries of the ledger.
    pub(crate) transfers: &'a [Transfer],
    /// New refunds.
    pub(crate) refunds: &'a [Refund],
    /// Refunds that the card processor has answered, and how they stand now.
    pub(crate) ended: &'a [(PaymentId, RefundId, RefundState)],
}

/// A change of state, won only if the payment is still in the state that it is expected to have.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    /// As it is to be.
    pub(crate) payment: &'a Payment,
    /// As it stands.
    pub(crate) expected: &'a State,
    /// The processor's reference, when a card's money was taken.
    pub(crate) reference: Option<&'a str>,
}

/// A payment, or a wallet.
struct Row {
    id: Option<Uuid>,
    order_id: Option<Uuid>,
    saga_id: Option<Uuid>,
    user_id: String,
    minor: i64,
    currency: String,
    state: Option<String>,
    reason: Option<String>,
    card_token: Option<String>,
    charge_key: Option<Uuid>,
    refunded_minor: Option<i64>,
    refunding_minor: Option<i64>,
    created_at: Option<palinode_values::Timestamp>,
    is_closed: Option<bool>,
}

/// Locks the payments of `orders`, then the wallets of their users and of `users`, each in key
/// order; what is not there is left out.
pub(crate) async fn lock(
    tx: &mut Tx,
    orders: &[Uuid],
    users: &[&str],
) -> Result<(Vec<Payment>, Vec<(UserId, Wallet)>), Error> {
    let rows = sqlx::query_file_as!(Row, "src/sql/lock.sql", orders, users as &[&str])
        .fetch_all(tx.conn())
        .await?;
    let (mut stored, mut purses) = (Vec::new(), Vec::new());
    for row in rows {
        match (row.id, row.state) {
            (Some(id), Some(state)) => {
                let payment = payments::Row {
                    id,
                    order_id: row.order_id.unwrap_or_default(),
                    saga_id: row.saga_id.unwrap_or_default(),
                    user_id: row.user_id,
                    amount_minor: row.minor,
                    currency: row.currency,
                    state,
                    reason: row.reason,
                    card_token: row.card_token,
                    charge_key: row.charge_key,
                    refunded_minor: row.refunded_minor.unwrap_or_default(),
                    refunding_minor: row.refunding_minor.unwrap_or_default(),
                    created_at: row.created_at.unwrap_or_default(),
                };
                stored.push(payment.read()?);
            }
            (None, _) | (_, None) => {
                let wallet = wallets::Row {
                    user_id: row.user_id,
                    balance_minor: row.minor,
                    currency: row.currency,
                    is_closed: row.is_closed.unwrap_or_default(),
                };
                purses.push(wallet.read()?);
            }
        }
    }
    Ok((stored, purses))
}

/// Writes what a batch comes to.
///
/// # Errors
/// `Inconsistent`: a wallet is gone or would fall below zero, or a payment or a refund is in another state
/// than expected; nothing may be committed. `Constraint` `payment_one_an_order`: another transaction was
/// first with the order; run again.
pub(crate) async fn write(tx: &mut Tx, clock: &Clock, work: &Work<'_>) -> Result<(), Error> {
    let Work {
        deltas,
        inserted,
        changes,
        transfers,
        refunds,
        ended,
    } = work;
    // whatever becomes of a refund changes its payment
    if deltas.is_empty() && inserted.is_empty() && changes.is_empty() && transfers.is_empty() {
        return Ok(());
    }
    let entries = Entries::of(transfers, clock);
    let users: Vec<&str> = deltas.iter().map(|(user, _)| user.as_str()).collect();
    let amounts: Vec<i64> = deltas.iter().map(|(_, delta)| *delta).collect();
    let ids = |of: fn(&Payment) -> Uuid| -> Vec<Uuid> { inserted.iter().map(|p| of(p)).collect() };
    let text = |of: fn(&Payment) -> &str| -> Vec<&str> { inserted.iter().map(|p| of(p)).collect() };
    let paid: Vec<i64> = inserted.iter().map(|p| p.amount.minor).collect();
    let reasons: Vec<Option<&str>> = inserted.iter().map(|p| reason(&p.state)).collect();
    let tokens: Vec<Option<&str>> = inserted.iter().map(|p| card(p).map(|(t, _)| t)).collect();
    let keys: Vec<Option<Uuid>> = inserted.iter().map(|p| card(p).map(|(_, k)| k)).collect();
    let made_backs: Vec<i64> = inserted.iter().map(|p| p.back.done).collect();
    let made_askeds: Vec<i64> = inserted.iter().map(|p| p.back.asked).collect();
    let moved: Vec<Uuid> = changes.iter().map(|c| c.payment.id.0).collect();
    let expected: Vec<&str> = changes.iter().map(|c| c.expected.as_str()).collect();
    let states: Vec<&str> = changes.iter().map(|c| c.payment.state.as_str()).collect();
    let whys: Vec<Option<&str>> = changes.iter().map(|c| reason(&c.payment.state)).collect();
    let references: Vec<Option<&str>> = changes.iter().map(|c| c.reference).collect();
    let backs: Vec<i64> = changes.iter().map(|c| c.payment.back.done).collect();
    let askeds: Vec<i64> = changes.iter().map(|c| c.payment.back.asked).collect();
    let refund = |of: fn(&Refund) -> Uuid| -> Vec<Uuid> { refunds.iter().map(of).collect() };
    let refund_amounts: Vec<i64> = refunds.iter().map(|r| r.amount.minor).collect();
    let refund_reasons: Vec<&str> = refunds.iter().map(|r| r.reason.as_str()).collect();
    let refund_states: Vec<&str> = refunds.iter().map(|r| r.state.as_str()).collect();
    let requesters: Vec<String> = refunds.iter().map(|r| r.requested_by.to_string()).collect();
    let ended_of: Vec<Uuid> = ended.iter().map(|(payment, ..)| payment.0).collect();
    let ended_ids: Vec<Uuid> = ended.iter().map(|(_, refund, _)| refund.0).collect();
    let ended_states: Vec<&str> = ended.iter().map(|(.., state)| state.as_str()).collect();
    let written = sqlx::query_file!(
        "src/sql/write.sql",
        &users as &[&str],
        &amounts,
        &ids(|p| p.id.0),
        &ids(|p| p.order_id.0),
        &ids(|p| p.saga_id.0),
        &text(|p| p.user_id.as_str()) as &[&str],
        &text(|p| method(&p.source)) as &[&str],
        &paid,
        &text(|p| p.amount.currency.as_str()) as &[&str],
        &text(|p| p.state.as_str()) as &[&str],
        &reasons as &[Option<&str>],
        &tokens as &[Option<&str>],
        &keys as &[Option<Uuid>],
        &moved,
        &expected as &[&str],
        &states as &[&str],
        &whys as &[Option<&str>],
        &references as &[Option<&str>],
        &entries.ids,
        &entries.transfers,
        &entries.kinds as &[&str],
        &entries.payments as &[Option<Uuid>],
        &entries.accounts,
        &entries.amounts,
        &entries.currencies as &[&str],
        &backs,
        &askeds,
        &entries.refunds as &[Option<Uuid>],
        &refund(|r| r.id.0),
        &refund(|r| r.payment_id.0),
        &refund_amounts,
        &refund_reasons as &[&str],
        &refund_states as &[&str],
        &requesters,
        &ended_of,
        &ended_ids,
        &ended_states as &[&str],
        &made_backs,
        &made_askeds,
    )
    .fetch_one(tx.conn())
    .await?;
    if usize::try_from(written.summed) != Ok(deltas.len()) {
        let (why, users) = ("below zero, or gone", users.join(" "));
        return Err(Error::inconsistent("wallet", "balance_minor", users, why));
    }
    if usize::try_from(written.moved) != Ok(changes.len()) {
        let why = "not the expected one";
        return Err(Error::inconsistent("payment", "state", "batch", why));
    }
    if usize::try_from(written.ended) != Ok(ended.len()) {
        let why = "not the expected one";
        return Err(Error::inconsistent("refund", "state", "batch", why));
    }
    Ok(())
}

/// The entries of transfers, two each, column by column.
#[derive(Default)]
struct Entries<'a> {
    ids: Vec<Uuid>,
    transfers: Vec<Uuid>,
    kinds: Vec<&'a str>,
    payments: Vec<Option<Uuid>>,
    refunds: Vec<Option<Uuid>>,
    accounts: Vec<String>,
    amounts: Vec<i64>,
    currencies: Vec<&'a str>,
}

impl<'a> Entries<'a> {
    fn of(transfers: &'a [Transfer], clock: &Clock) -> Self {
        let mut entries = Self::default();
        for transfer in transfers {
            let id = LedgerEntryId::new(clock).0;
            for (account, amount) in transfer.entries() {
                entries.ids.push(LedgerEntryId::new(clock).0);
                entries.transfers.push(id);
                entries.kinds.push(transfer.kind.as_str());
                entries.payments.push(transfer.payment_id.map(|id| id.0));
                entries.refunds.push(transfer.refund_id.map(|id| id.0));
                entries.accounts.push(account.to_string());
                entries.amounts.push(amount.minor);
                entries.currencies.push(transfer.currency().as_str());
            }
        }
        entries
    }
}

fn card(payment: &Payment) -> Option<(&str, Uuid)> {
    match &payment.source {
        Source::Wallet => None,
        Source::Card { token, key } => Some((token, *key)),
    }
}

fn method(source: &Source) -> &'static str {
    match source {
        Source::Wallet => "wallet",
        Source::Card { .. } => "card",
    }
}

fn reason(state: &State) -> Option<&'static str> {
    state.reason().map(|reason| reason.as_str())
}
