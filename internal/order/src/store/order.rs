use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use palinode_db::{Db, Error, Tx};
use palinode_telemetry::TraceContext;
use palinode_values::{
    CancellationId, Currency, InvalidId, Money, OrderId, PaymentId, SagaId, ShipmentId, Sku,
    Timestamp, UserId,
};
use uuid::Uuid;

use super::{cancellation, product};
use crate::domain::{
    Address, Cancellation, Fulfilment, Line, Listing, Order, PaymentMethod, Product, STATUS_WORDS,
    Sort, Status,
};

/// A key that was used before.
pub(crate) struct UsedKey {
    pub(crate) fingerprint: Vec<u8>,
    /// The order or the quote that was made.
    pub(crate) made: Uuid,
}

/// An order as far as a decision needs it.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) id: OrderId,
    pub(crate) user: UserId,
    pub(crate) status: Status,
}

/// A key that is to stand for what is made: an order or a quote.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) key: &'a str,
    pub(crate) fingerprint: &'a [u8],
    pub(crate) made: Uuid,
}

/// Claims keys; returns what is to be made under those that were free, and what can be ordered of `skus`. A claim of
/// another transaction that is still open is waited for.
///
/// Shape: `claims` by user and key, each once.
pub(crate) async fn claim<'a>(
    tx: &mut Tx,
    claims: &[Claim<'_>],
    skus: impl IntoIterator<Item = &'a Sku>,
) -> Result<(HashSet<Uuid>, HashMap<Sku, Product>), Error> {
    let users: Vec<&str> = claims.iter().map(|claim| claim.user.as_str()).collect();
    let keys: Vec<&str> = claims.iter().map(|claim| claim.key).collect();
    let fingerprints: Vec<&[u8]> = claims.iter().map(|claim| claim.fingerprint).collect();
    let made: Vec<Uuid> = claims.iter().map(|claim| claim.made).collect();
    let skus: Vec<&str> = skus.into_iter().map(Sku::as_str).collect();
    let rows = sqlx::query_file!(
        "src/sql/claim.sql",
        &users as &[&str],
        &keys as &[&str],
        &fingerprints as &[&[u8]],
        &made,
        &skus as &[&str],
    )
    .fetch_all(tx.conn())
    .await?;
    let (mut claimed, mut products) = (HashSet::new(), HashMap::new());
    for row in rows {
        claimed.extend(row.claimed);
        if let (Some(sku), Some(name), Some(price_minor), Some(currency)) =
            (row.sku, row.name, row.price_minor, row.currency)
        {
            let row = product::Row {
                sku,
                name,
                price_minor,
                currency,
            };
            let product = Product::try_from(row)?;
            products.insert(product.sku.clone(), product);
        }
    }
    Ok((claimed, products))
}

/// Gives back keys that this transaction has claimed, and does not need.
pub(crate) async fn unclaim(tx: &mut Tx, keys: &[(&UserId, &str)]) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let (users, keys): (Vec<&str>, Vec<&str>) =
        keys.iter().map(|(user, key)| (user.as_str(), *key)).unzip();
    sqlx::query!(
        "DELETE FROM idempotency_key i USING unnest($1::text[], $2::text[]) AS n(user_id, key)
          WHERE i.user_id = n.user_id AND i.key = n.key",
        &users as &[&str],
        &keys as &[&str],
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets keys that are older than `kept`, `limit` at the most; returns how many.
pub(crate) async fn forget_keys(db: &Db, kept: Duration, limit: i64) -> Result<u64, Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM idempotency_key WHERE (user_id, key) IN (
           SELECT user_id, key FROM idempotency_key WHERE created_at < now() - make_interval(secs => $1)
            ORDER BY created_at LIMIT $2)",
        kept.as_secs_f64(),
        limit
    )
    .execute(db.pool())
    .await?;
    Ok(forgotten.rows_affected())
}

/// What a key stands for that is known to be used.
pub(crate) async fn used_key(tx: &mut Tx, user: &UserId, key: &str) -> Result<UsedKey, Error> {
    let used = sqlx::query!(
        "SELECT fingerprint, made_id FROM idempotency_key WHERE user_id = $1 AND key = $2",
        user.as_str(),
        key
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(UsedKey {
        fingerprint: used.fingerprint,
        made: used.made_id,
    })
}

/// Writes new orders, each with the trace of the call that placed it.
///
/// Shape: not empty; all of them were created at the same moment.
pub(crate) async fn insert(tx: &mut Tx, orders: &[(&Order, &TraceContext)]) -> Result<(), Error> {
    let Some((first, _)) = orders.first() else {
        return Ok(());
    };
    let text =
        |of: fn(&Order) -> &str| -> Vec<&str> { orders.iter().map(|(o, _)| of(o)).collect() };
    let ids: Vec<Uuid> = orders.iter().map(|(o, _)| o.id.0).collect();
    let sagas: Vec<Uuid> = orders.iter().map(|(o, _)| o.saga_id.0).collect();
    let totals: Vec<i64> = orders.iter().map(|(o, _)| o.total.minor).collect();
    let traces: Vec<String> = orders
        .iter()
        .map(|(_, trace)| trace.traceparent())
        .collect();
    let tokens: Vec<Option<&str>> = orders
        .iter()
        .map(|(order, _)| match &order.payment {
            PaymentMethod::Wallet => None,
            PaymentMethod::Card { token } => Some(token.as_str()),
        })
        .collect();
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    let (mut skus, mut names) = (Vec::new(), Vec::new());
    let (mut quantities, mut prices) = (Vec::new(), Vec::new());
    for (order, _) in orders {
        firsts.push(i32::try_from(skus.len() + 1).unwrap_or(i32::MAX));
        for line in &order.lines {
            skus.push(line.sku.as_str());
            names.push(line.name.as_str());
            quantities.push(line.quantity);
            prices.push(line.price.minor);
        }
        lasts.push(i32::try_from(skus.len()).unwrap_or(i32::MAX));
    }
    sqlx::query_file!(
        "src/sql/insert.sql",
        &ids,
        &text(|o| o.user.as_str()) as &[&str],
        &sagas,
        &totals,
        &text(|o| o.total.currency.as_str()) as &[&str],
        &text(|o| &o.address.name) as &[&str],
        &text(|o| &o.address.street) as &[&str],
        &text(|o| &o.address.postal_code) as &[&str],
        &text(|o| &o.address.city) as &[&str],
        &text(|o| &o.address.country) as &[&str],
        &text(|o| method(&o.payment)) as &[&str],
        &tokens as &[Option<&str>],
        first.created_at,
        &traces,
        &firsts,
        &skus as &[&str],
        &names as &[&str],
        &quantities,
        &prices,
        &lasts,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn method(payment: &PaymentMethod) -> &'static str {
    match payment {
        PaymentMethod::Wallet => "wallet",
        PaymentMethod::Card { .. } => "card",
    }
}

/// Locks orders, in id order, or two batches would deadlock.
pub(crate) async fn lock(tx: &mut Tx, ids: &[OrderId]) -> Result<Vec<Standing>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        "SELECT id, user_id, status, reason, reason_detail, payment_id, shipment_id,
                cancellation_id
           FROM orders WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            let columns = StatusColumns {
                id: row.id,
                status: &row.status,
                reason: row.reason,
                reason_detail: row.reason_detail,
                payment_id: row.payment_id,
                shipment_id: row.shipment_id,
                cancellation_id: row.cancellation_id,
            };
            Ok(Standing {
                id: OrderId(row.id),
                user: user(&row.user_id, row.id)?,
                status: columns.read()?,
            })
        })
        .collect()
}

/// Decides orders that are pending still, each once; returns the users of those that were. The guard
/// rows of the decisions are held, so nobody else decides the same orders in another order.
pub(crate) async fn decide_pending(
    tx: &mut Tx,
    decided: &BTreeMap<OrderId, Status>,
) -> Result<HashMap<OrderId, UserId>, Error> {
    if decided.is_empty() {
        return Ok(HashMap::new());
    }
    let columns = StatusArrays::of(decided.iter().map(|(id, status)| (*id, status)));
    let rows = sqlx::query_file!(
        "src/sql/decide.sql",
        &columns.ids,
        &columns.words as &[&str],
        &columns.reasons as &[Option<&str>],
        &columns.details as &[Option<&str>],
        &columns.payments as &[Option<Uuid>],
        &columns.shipments as &[Option<Uuid>],
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| Ok((OrderId(row.id), user(&row.user_id, row.id)?)))
        .collect()
}

/// Statuses, column by column.
#[derive(Default)]
struct StatusArrays<'a> {
    ids: Vec<Uuid>,
    words: Vec<&'a str>,
    reasons: Vec<Option<&'a str>>,
    details: Vec<Option<&'a str>>,
    payments: Vec<Option<Uuid>>,
    shipments: Vec<Option<Uuid>>,
}

impl<'a> StatusArrays<'a> {
    fn of(statuses: impl Iterator<Item = (OrderId, &'a Status)>) -> Self {
        let mut arrays = Self::default();
        for (id, status) in statuses {
            let (refused, fulfilment) = match status {
                Status::Pending => (None, None),
                Status::Rejected { reason, detail } => (Some((reason, detail)), None),
                Status::Confirmed(fulfilment)
                | Status::Cancelling(fulfilment, _)
                | Status::Cancelled(fulfilment) => (None, Some(fulfilment)),
            };
            arrays.ids.push(id.0);
            arrays.words.push(status.word());
            arrays
                .reasons
                .push(refused.map(|(reason, _)| reason.as_str()));
            arrays
                .details
                .push(refused.map(|(_, detail)| detail.as_str()));
            arrays.payments.push(fulfilment.map(|f| f.payment_id.0));
            arrays.shipments.push(fulfilment.map(|f| f.shipment_id.0));
        }
        arrays
    }
}

/// Writes decisions about orders, each with the status that it had when it was locked.
pub(crate) async fn save_decisions(
    tx: &mut Tx,
    changed: &[(&'static str, Standing)],
) -> Result<(), Error> {
    // of an order that is decided twice in one batch, the last decision stands
    let mut last: BTreeMap<OrderId, (&'static str, &Status)> = BTreeMap::new();
    for (was, order) in changed {
        let entry = last.entry(order.id).or_insert((was, &order.status));
        entry.1 = &order.status;
    }
    if last.is_empty() {
        return Ok(());
    }
    let columns = StatusArrays::of(last.iter().map(|(id, (_, status))| (*id, *status)));
    let were: Vec<&str> = last.values().map(|(was, _)| *was).collect();
    let saved = sqlx::query!(
        "UPDATE orders o
            SET status = n.status, reason = n.reason, reason_detail = n.detail,
                payment_id = n.payment_id, shipment_id = n.shipment_id, updated_at = now()
           FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[],
                       $7::uuid[])
             AS n(id, was, status, reason, detail, payment_id, shipment_id)
          WHERE o.id = n.id AND o.status = n.was",
        &columns.ids,
        &were as &[&str],
        &columns.words as &[&str],
        &columns.reasons as &[Option<&str>],
        &columns.details as &[Option<&str>],
        &columns.payments as &[Option<Uuid>],
        &columns.shipments as &[Option<Uuid>],
    )
    .execute(tx.conn())
    .await?;
    if saved.rows_affected() != last.len() as u64 {
        let why = "a locked order has another status than when it was locked";
        return Err(Error::inconsistent("orders", "status", "batch", why));
    }
    Ok(())
}

/// Sagas of what is undecided, orders and cancellations, that the orchestrator is not known to know,
/// oldest first.
pub(crate) async fn to_sweep(
    db: &Db,
    patience: Duration,
    limit: i64,
) -> Result<Vec<SagaId>, Error> {
    let rows = sqlx::query_scalar!(
        r#"(SELECT saga_id AS "saga_id!" FROM orders
             WHERE status = 'pending' AND NOT saga_known
               AND start_sent_at < now() - make_interval(secs => $1)
             ORDER BY start_sent_at LIMIT $2)
           UNION ALL
           (SELECT saga_id FROM cancellation
             WHERE state = 'open' AND NOT saga_known
               AND start_sent_at < now() - make_interval(secs => $1)
             ORDER BY start_sent_at LIMIT $2)"#,
        patience.as_secs_f64(),
        limit
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(SagaId).collect())
}

/// The orchestrator knows these sagas: the sweep leaves them alone. What somebody else holds is left to the
/// next sweep.
pub(crate) async fn mark_known(db: &Db, sagas: &[SagaId]) -> Result<(), Error> {
    if sagas.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = sagas.iter().map(|id| id.0).collect();
    sqlx::query!(
        "WITH free AS MATERIALIZED (
             SELECT id FROM orders WHERE saga_id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED
         ), free_cancellations AS MATERIALIZED (
             SELECT id FROM cancellation WHERE saga_id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED
         ), cancellations AS (
             UPDATE cancellation c SET saga_known = true FROM free_cancellations f WHERE c.id = f.id)
         UPDATE orders o SET saga_known = true FROM free WHERE o.id = free.id",
        &ids
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Locks those of the orders that are still pending, for another start; what somebody else holds
/// is left to him.
pub(crate) async fn lock_unstarted(
    tx: &mut Tx,
    sagas: &[SagaId],
) -> Result<Vec<(Order, TraceContext)>, Error> {
    let ids: Vec<Uuid> = sagas.iter().map(|id| id.0).collect();
    let locked = sqlx::query!(
        "WITH free AS MATERIALIZED (
             SELECT id FROM orders
              WHERE saga_id = ANY($1) AND status = 'pending' AND NOT saga_known
              ORDER BY id FOR UPDATE SKIP LOCKED)
         UPDATE orders o SET start_sent_at = now() FROM free WHERE o.id = free.id
         RETURNING o.id, o.traceparent",
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    let mut orders = Vec::with_capacity(locked.len());
    for row in locked {
        let trace = TraceContext::from_fields(Some(&row.traceparent), None, None);
        let trace = trace.unwrap_or_else(TraceContext::root);
        let order = get_in(tx, OrderId(row.id)).await?;
        orders.extend(order.map(|order| (order, trace)));
    }
    Ok(orders)
}

/// One order, in the open transaction.
pub(crate) async fn get_in(tx: &mut Tx, id: OrderId) -> Result<Option<Order>, Error> {
    let row = sqlx::query_as!(OrderRow, "SELECT id, user_id, saga_id, status, reason, reason_detail, total_minor, currency, address_name, street, postal_code, city, country, method, card_token, payment_id, shipment_id, cancellation_id, created_at, updated_at, skus, names, quantities, prices_minor FROM orders WHERE id = $1", id.0)
        .fetch_optional(tx.conn())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let cancellations = cancellation::of_ids(tx.conn(), row.cancellation_id.as_slice()).await?;
    row.read(&cancellations).map(Some)
}

/// One order.
pub(crate) async fn get(db: &Db, id: OrderId) -> Result<Option<Order>, Error> {
    let row = sqlx::query_as!(OrderRow, "SELECT id, user_id, saga_id, status, reason, reason_detail, total_minor, currency, address_name, street, postal_code, city, country, method, card_token, payment_id, shipment_id, cancellation_id, created_at, updated_at, skus, names, quantities, prices_minor FROM orders WHERE id = $1", id.0)
        .fetch_optional(db.pool())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let cancellations = cancellation::of_ids(db.pool(), row.cancellation_id.as_slice()).await?;
    row.read(&cancellations).map(Some)
}

/// Reads orders: the end of the statement, and what it is about.
macro_rules! orders {
    ($db:expr, $end:tt, $($about:expr),* $(,)?) => {
        sqlx::query_as!(
            OrderRow,
            "SELECT id, user_id, saga_id, status, reason, reason_detail, total_minor, currency, address_name, street, postal_code, city, country, method, card_token, payment_id, shipment_id, cancellation_id, created_at, updated_at, skus, names, quantities, prices_minor FROM orders " + $end,
            $($about),*
        )
        .fetch_all($db.pool())
        .await?
    };
}

/// The next orders of a listing. Each statement walks an index from where the page before has ended; of
/// everybody's orders none is sorted by total.
pub(crate) async fn list(db: &Db, listing: &Listing, limit: i64) -> Result<Vec<Order>, Error> {
    let rows = match &listing.user {
        Some(user) => list_his(db, user, listing, limit).await?,
        None => list_all(db, listing, limit).await?,
    };
    let cancelled: Vec<Uuid> = rows.iter().filter_map(|row| row.cancellation_id).collect();
    let cancellations = cancellation::of_ids(db.pool(), &cancelled).await?;
    rows.into_iter()
        .map(|row| row.read(&cancellations))
        .collect()
}

/// Where a listing goes on. Before its first page: what no order is beyond.
fn place(listing: &Listing) -> (i64, Uuid) {
    match (listing.after, listing.sort) {
        (Some((total, id)), _) => (total, id.0),
        (None, Sort::Newest | Sort::TotalDescending) => (i64::MAX, Uuid::max()),
        (None, Sort::Oldest | Sort::Total) => (i64::MIN, Uuid::nil()),
    }
}

fn statuses(listing: &Listing) -> Vec<String> {
    let words = listing
        .status
        .map_or_else(|| STATUS_WORDS.to_vec(), |word| vec![word]);
    words.into_iter().map(str::to_owned).collect()
}

async fn list_his(
    db: &Db,
    user: &UserId,
    listing: &Listing,
    limit: i64,
) -> Result<Vec<OrderRow>, Error> {
    let (user, (total, id), statuses) = (user.as_str(), place(listing), statuses(listing));
    let statuses = statuses.as_slice();
    Ok(match listing.sort {
        Sort::Newest => orders!(
            db,
            "WHERE user_id = $1 AND status = ANY($2) AND id < $3 ORDER BY id DESC LIMIT $4",
            user,
            statuses,
            id,
            limit
        ),
        Sort::Oldest => orders!(
            db,
            "WHERE user_id = $1 AND status = ANY($2) AND id > $3 ORDER BY id LIMIT $4",
            user,
            statuses,
            id,
            limit
        ),
        Sort::Total => orders!(
            db,
            "WHERE user_id = $1 AND status = ANY($2) AND (total_minor, id) > ($3, $4) ORDER BY total_minor, id LIMIT $5",
            user,
            statuses,
            total,
            id,
            limit
        ),
        Sort::TotalDescending => orders!(
            db,
            "WHERE user_id = $1 AND status = ANY($2) AND (total_minor, id) < ($3, $4) ORDER BY total_minor DESC, id DESC LIMIT $5",
            user,
            statuses,
            total,
            id,
            limit
        ),
    })
}

async fn list_all(db: &Db, listing: &Listing, limit: i64) -> Result<Vec<OrderRow>, Error> {
    let ((_, id), statuses) = (place(listing), statuses(listing));
    let statuses = statuses.as_slice();
    let is_down = matches!(listing.sort, Sort::Newest | Sort::TotalDescending);
    // most are confirmed, and found on the way; the others have an index of their own
    let rare = listing.status.filter(|status| *status != "confirmed");
    Ok(match (rare, is_down) {
        (Some(status), true) => orders!(
            db,
            "WHERE status = $1 AND status <> 'confirmed' AND id < $2 ORDER BY id DESC LIMIT $3",
            status,
            id,
            limit
        ),
        (Some(status), false) => orders!(
            db,
            "WHERE status = $1 AND status <> 'confirmed' AND id > $2 ORDER BY id LIMIT $3",
            status,
            id,
            limit
        ),
        (None, true) => orders!(
            db,
            "WHERE status = ANY($1) AND id < $2 ORDER BY id DESC LIMIT $3",
            statuses,
            id,
            limit
        ),
        (None, false) => orders!(
            db,
            "WHERE status = ANY($1) AND id > $2 ORDER BY id LIMIT $3",
            statuses,
            id,
            limit
        ),
    })
}

struct OrderRow {
    id: Uuid,
    user_id: String,
    saga_id: Uuid,
    status: String,
    reason: Option<String>,
    reason_detail: Option<String>,
    total_minor: i64,
    currency: String,
    address_name: String,
    street: String,
    postal_code: String,
    city: String,
    country: String,
    method: String,
    card_token: Option<String>,
    payment_id: Option<Uuid>,
    shipment_id: Option<Uuid>,
    cancellation_id: Option<Uuid>,
    created_at: Timestamp,
    updated_at: Timestamp,
    skus: Vec<String>,
    names: Vec<String>,
    quantities: Vec<i32>,
    prices_minor: Vec<i64>,
}

/// SKUs, names, quantities and prices, a place for each line.
type LineColumns = (Vec<String>, Vec<String>, Vec<i32>, Vec<i64>);

/// The lines that stand in these columns.
pub(super) fn lines(
    (skus, names, quantities, prices): LineColumns,
    currency: Currency,
) -> Result<Vec<Line>, InvalidId> {
    let named = skus.into_iter().zip(names);
    let counted = quantities.into_iter().zip(prices);
    let lines = named.zip(counted).map(|((sku, name), (quantity, price))| {
        Ok(Line {
            sku: sku.parse()?,
            name,
            quantity,
            price: Money::new(price, currency),
        })
    });
    lines.collect()
}

struct StatusColumns<'r> {
    id: Uuid,
    status: &'r str,
    reason: Option<String>,
    reason_detail: Option<String>,
    payment_id: Option<Uuid>,
    shipment_id: Option<Uuid>,
    cancellation_id: Option<Uuid>,
}

impl StatusColumns<'_> {
    fn read(self) -> Result<Status, Error> {
        let fulfilment = self.payment_id.zip(self.shipment_id);
        let fulfilment = fulfilment.map(|(payment, shipment)| Fulfilment {
            payment_id: PaymentId(payment),
            shipment_id: ShipmentId(shipment),
        });
        match (self.status, fulfilment, self.reason, self.cancellation_id) {
            ("pending", None, None, None) => Ok(Status::Pending),
            ("confirmed", Some(fulfilment), ..) => Ok(Status::Confirmed(fulfilment)),
            ("cancelling", Some(fulfilment), _, Some(id)) => {
                Ok(Status::Cancelling(fulfilment, CancellationId(id)))
            }
            ("cancelled", Some(fulfilment), ..) => Ok(Status::Cancelled(fulfilment)),
            ("rejected", _, Some(reason), _) => Ok(Status::Rejected {
                reason,
                detail: self.reason_detail.unwrap_or_default(),
            }),
            (other, ..) => Err(Error::inconsistent("orders", "status", self.id, other)),
        }
    }
}

fn user(text: &str, order: Uuid) -> Result<UserId, Error> {
    text.parse()
        .map_err(|e| Error::inconsistent("orders", "user_id", order, e))
}

impl OrderRow {
    fn read(self, cancellations: &HashMap<Uuid, Cancellation>) -> Result<Order, Error> {
        let cancellation = self.cancellation_id.and_then(|id| cancellations.get(&id));
        let currency: Currency = self
            .currency
            .parse()
            .map_err(|e| Error::inconsistent("orders", "currency", self.id, e))?;
        let status = StatusColumns {
            id: self.id,
            status: &self.status,
            reason: self.reason,
            reason_detail: self.reason_detail,
            payment_id: self.payment_id,
            shipment_id: self.shipment_id,
            cancellation_id: self.cancellation_id,
        };
        let columns = (self.skus, self.names, self.quantities, self.prices_minor);
        let lines = lines(columns, currency)
            .map_err(|e| Error::inconsistent("orders", "skus", self.id, e))?;
        Ok(Order {
            id: OrderId(self.id),
            saga_id: SagaId(self.saga_id),
            user: user(&self.user_id, self.id)?,
            status: status.read()?,
            lines,
            total: Money::new(self.total_minor, currency),
            address: Address {
                name: self.address_name,
                street: self.street,
                postal_code: self.postal_code,
                city: self.city,
                country: self.country,
            },
            payment: match (self.method.as_str(), self.card_token) {
                ("card", Some(token)) => PaymentMethod::Card { token },
                _ => PaymentMethod::Wallet,
            },
            cancellation: cancellation.cloned(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}
