use palinode_db::{Db, Error, Tx};
use palinode_values::{Money, OrderId, PaymentId, SagaId, Timestamp};
use uuid::Uuid;

use crate::domain::{Payment, Reason, Source, State};

/// A row of `payment`, as every statement here selects it.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) saga_id: Uuid,
    pub(super) user_id: String,
    pub(super) amount_minor: i64,
    pub(super) currency: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) card_token: Option<String>,
    pub(super) charge_key: Option<Uuid>,
    pub(super) created_at: Timestamp,
}

impl Row {
    pub(super) fn read(self) -> Result<Payment, Error> {
        let bad = |column, why: &dyn ToString| {
            Error::inconsistent("payment", column, self.id, why.to_string())
        };
        let reason = self.reason.as_deref().and_then(Reason::parse);
        let state = match (self.state.as_str(), reason) {
            ("pending", None) => State::Pending,
            ("captured", None) => State::Captured,
            ("declined", Some(reason)) => State::Declined(reason),
            ("refunding", None) => State::Refunding,
            ("refunded", None) => State::Refunded,
            _ => return Err(bad("state", &"does not fit the reason")),
        };
        let source = match (self.card_token, self.charge_key) {
            (Some(token), Some(key)) => Source::Card { token, key },
            _ => Source::Wallet,
        };
        let currency = self.currency.parse().map_err(|why| bad("currency", &why))?;
        Ok(Payment {
            id: PaymentId(self.id),
            order_id: OrderId(self.order_id),
            saga_id: SagaId(self.saga_id),
            user_id: self.user_id.parse().map_err(|why| bad("user_id", &why))?,
            amount: Money::new(self.amount_minor, currency),
            source,
            state,
        })
    }
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

/// Locks the payments of `orders` and reads them. Orders without a payment are left out.
pub(crate) async fn lock_by_order(tx: &mut Tx, orders: &[Uuid]) -> Result<Vec<Payment>, Error> {
    // in key order: two batches never wait for each other in a circle
    sqlx::query_as!(
        Row,
        "SELECT id, order_id, saga_id, user_id, amount_minor, currency, state, reason, card_token,
                charge_key, created_at
           FROM payment WHERE order_id = ANY($1) ORDER BY order_id FOR UPDATE",
        orders,
    )
    .fetch_all(tx.conn())
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// Inserts new payments of wallets, settled, and of cards, pending.
///
/// # Errors
/// `Constraint` `payment_one_an_order`: another transaction was first with the order; run again.
pub(crate) async fn insert(tx: &mut Tx, payments: &[&Payment]) -> Result<(), Error> {
    if payments.is_empty() {
        return Ok(());
    }
    let rows = payments.len();
    let mut methods = Vec::<String>::with_capacity(rows);
    let mut tokens = Vec::<Option<String>>::with_capacity(rows);
    let mut keys = Vec::<Option<Uuid>>::with_capacity(rows);
    for payment in payments {
        let (method, token, key) = match &payment.source {
            Source::Wallet => ("wallet", None, None),
            Source::Card { token, key } => ("card", Some(token.clone()), Some(*key)),
        };
        methods.push(method.to_owned());
        tokens.push(token);
        keys.push(key);
    }
    let ids: Vec<Uuid> = payments.iter().map(|p| p.id.0).collect();
    let orders: Vec<Uuid> = payments.iter().map(|p| p.order_id.0).collect();
    let sagas: Vec<Uuid> = payments.iter().map(|p| p.saga_id.0).collect();
    let users: Vec<String> = payments.iter().map(|p| p.user_id.to_string()).collect();
    let amounts: Vec<i64> = payments.iter().map(|p| p.amount.minor).collect();
    let currencies: Vec<String> = payments
        .iter()
        .map(|p| p.amount.currency.to_string())
        .collect();
    let states: Vec<String> = payments
        .iter()
        .map(|p| p.state.as_str().to_owned())
        .collect();
    let reasons: Vec<Option<String>> = payments.iter().map(|p| reason(&p.state)).collect();
    sqlx::query!(
        "INSERT INTO payment (id, order_id, saga_id, user_id, method, amount_minor, currency, state,
                              reason, card_token, charge_key)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[],
                              $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[],
                              $11::uuid[])",
        &ids,
        &orders,
        &sagas,
        &users,
        &methods,
        &amounts,
        &currencies,
        &states,
        &reasons as &[Option<String>],
        &tokens as &[Option<String>],
        &keys as &[Option<Uuid>],
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Changes states, each only from the state that it is expected to be in.
///
/// # Errors
/// `Inconsistent`: a payment, locked by this transaction, is in another state.
pub(crate) async fn change(tx: &mut Tx, changes: &[Change<'_>]) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = changes.iter().map(|c| c.payment.id.0).collect();
    let expected: Vec<String> = changes
        .iter()
        .map(|c| c.expected.as_str().to_owned())
        .collect();
    let states: Vec<String> = changes
        .iter()
        .map(|c| c.payment.state.as_str().to_owned())
        .collect();
    let reasons: Vec<Option<String>> = changes.iter().map(|c| reason(&c.payment.state)).collect();
    let references: Vec<Option<&str>> = changes.iter().map(|c| c.reference).collect();
    let changed = sqlx::query_scalar!(
        "UPDATE payment p
            SET state = n.state, reason = n.reason, updated_at = now(),
                processor_reference = coalesce(n.reference, p.processor_reference)
           FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
             AS n(id, expected, state, reason, reference)
          WHERE p.id = n.id AND p.state = n.expected
         RETURNING p.id",
        &ids,
        &expected,
        &states,
        &reasons as &[Option<String>],
        &references as &[Option<&str>],
    )
    .fetch_all(tx.conn())
    .await?;
    match ids.iter().find(|id| !changed.contains(id)) {
        Some(id) => Err(Error::inconsistent(
            "payment",
            "state",
            id,
            "not the expected one",
        )),
        None => Ok(()),
    }
}

/// A payment and when it was asked for, on a connection of the pool.
pub(crate) async fn find(db: &Db, id: PaymentId) -> Result<Option<(Payment, Timestamp)>, Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, order_id, saga_id, user_id, amount_minor, currency, state, reason, card_token,
                charge_key, created_at
           FROM payment WHERE id = $1",
        id.0,
    )
    .fetch_optional(db.pool())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let created_at = row.created_at;
    Ok(Some((row.read()?, created_at)))
}

fn reason(state: &State) -> Option<String> {
    state.reason().map(|reason| reason.as_str().to_owned())
}
