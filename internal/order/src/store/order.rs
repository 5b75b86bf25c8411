use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use palinode_db::{Db, Error, Tx};
use palinode_telemetry::TraceContext;
use palinode_values::{
    CancellationId, Currency, Money, OrderId, PaymentId, SagaId, ShipmentId, Timestamp, UserId,
};
use uuid::Uuid;

use super::cancellation;
use crate::domain::{Address, Cancellation, Fulfilment, Line, Order, PaymentMethod, Status};

/// A key that was used before.
pub(crate) struct UsedKey {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) order_id: OrderId,
}

/// An order as far as a decision needs it.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) id: OrderId,
    pub(crate) user: UserId,
    pub(crate) status: Status,
}

/// Claims a key for an order; returns what it stands for when it was claimed before. A claim of
/// another transaction that is still open is waited for.
pub(crate) async fn claim_key(
    tx: &mut Tx,
    user: &UserId,
    key: &str,
    fingerprint: &[u8],
    order_id: OrderId,
) -> Result<Option<UsedKey>, Error> {
    let claimed = sqlx::query!(
        "INSERT INTO idempotency_key (user_id, key, fingerprint, order_id)
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        user.as_str(),
        key,
        fingerprint,
        order_id.0
    )
    .execute(tx.conn())
    .await?;
    if claimed.rows_affected() == 1 {
        return Ok(None);
    }
    let used = sqlx::query!(
        "SELECT fingerprint, order_id FROM idempotency_key WHERE user_id = $1 AND key = $2",
        user.as_str(),
        key
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Some(UsedKey {
        fingerprint: used.fingerprint,
        order_id: OrderId(used.order_id),
    }))
}

/// Writes a new order with its lines.
pub(crate) async fn insert(tx: &mut Tx, order: &Order, trace: &TraceContext) -> Result<(), Error> {
    let (method, token) = match &order.payment {
        PaymentMethod::Wallet => ("wallet", None),
        PaymentMethod::Card { token } => ("card", Some(token)),
    };
    sqlx::query!(
        "INSERT INTO orders (id, user_id, saga_id, status, total_minor, currency, address_name,
                             street, postal_code, city, country, method, card_token,
                             created_at, updated_at, traceparent)
         VALUES ($1, $2, $3, 'pending', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        order.id.0,
        order.user.as_str(),
        order.saga_id.0,
        order.total.minor,
        order.total.currency.as_str(),
        order.address.name,
        order.address.street,
        order.address.postal_code,
        order.address.city,
        order.address.country,
        method,
        token,
        order.created_at,
        order.updated_at,
        trace.traceparent(),
    )
    .execute(tx.conn())
    .await?;
    let skus: Vec<String> = order.lines.iter().map(|l| l.sku.to_string()).collect();
    let names: Vec<String> = order.lines.iter().map(|l| l.name.clone()).collect();
    let quantities: Vec<i32> = order.lines.iter().map(|l| l.quantity).collect();
    let prices: Vec<i64> = order.lines.iter().map(|l| l.price.minor).collect();
    sqlx::query!(
        "INSERT INTO order_line (order_id, line, sku, name, quantity, price_minor)
         SELECT $1, n.line, n.sku, n.name, n.quantity, n.price_minor
           FROM unnest($2::text[], $3::text[], $4::int[], $5::bigint[])
                WITH ORDINALITY AS n(sku, name, quantity, price_minor, line)",
        order.id.0,
        &skus,
        &names,
        &quantities,
        &prices
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Locks orders, in id order, or two batches would deadlock.
pub(crate) async fn lock(tx: &mut Tx, ids: &[OrderId]) -> Result<Vec<Standing>, Error> {
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
    let ids: Vec<Uuid> = last.keys().map(|id| id.0).collect();
    let were: Vec<&str> = last.values().map(|(was, _)| *was).collect();
    let words: Vec<&str> = last.values().map(|(_, status)| status.word()).collect();
    let mut reasons: Vec<Option<&str>> = Vec::with_capacity(last.len());
    let mut details: Vec<Option<&str>> = Vec::with_capacity(last.len());
    let mut payments: Vec<Option<Uuid>> = Vec::with_capacity(last.len());
    let mut shipments: Vec<Option<Uuid>> = Vec::with_capacity(last.len());
    for (_, status) in last.values() {
        let (refused, fulfilment) = match status {
            Status::Pending => (None, None),
            Status::Rejected { reason, detail } => (Some((reason, detail)), None),
            Status::Confirmed(fulfilment)
            | Status::Cancelling(fulfilment, _)
            | Status::Cancelled(fulfilment) => (None, Some(fulfilment)),
        };
        reasons.push(refused.map(|(reason, _)| reason.as_str()));
        details.push(refused.map(|(_, detail)| detail.as_str()));
        payments.push(fulfilment.map(|f| f.payment_id.0));
        shipments.push(fulfilment.map(|f| f.shipment_id.0));
    }
    let saved = sqlx::query!(
        "UPDATE orders o
            SET status = n.status, reason = n.reason, reason_detail = n.detail,
                payment_id = n.payment_id, shipment_id = n.shipment_id, updated_at = now()
           FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[],
                       $7::uuid[])
             AS n(id, was, status, reason, detail, payment_id, shipment_id)
          WHERE o.id = n.id AND o.status = n.was",
        &ids,
        &were as &[&str],
        &words as &[&str],
        &reasons as &[Option<&str>],
        &details as &[Option<&str>],
        &payments as &[Option<Uuid>],
        &shipments as &[Option<Uuid>],
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

/// The orchestrator knows these sagas: the sweep leaves them alone.
pub(crate) async fn mark_known(db: &Db, sagas: &[SagaId]) -> Result<(), Error> {
    if sagas.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = sagas.iter().map(|id| id.0).collect();
    sqlx::query!(
        "WITH cancellations AS (
             UPDATE cancellation SET saga_known = true WHERE saga_id = ANY($1))
         UPDATE orders SET saga_known = true WHERE saga_id = ANY($1)",
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
    let row = sqlx::query_as!(OrderRow, "SELECT id, user_id, saga_id, status, reason, reason_detail, total_minor, currency, address_name, street, postal_code, city, country, method, card_token, payment_id, shipment_id, cancellation_id, created_at, updated_at FROM orders WHERE id = $1", id.0)
        .fetch_optional(tx.conn())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let lines = lines(tx.conn(), &[row.id]).await?;
    let cancellations = cancellation::of_ids(tx.conn(), row.cancellation_id.as_slice()).await?;
    row.read(lines, &cancellations).map(Some)
}

/// One order.
pub(crate) async fn get(db: &Db, id: OrderId) -> Result<Option<Order>, Error> {
    let row = sqlx::query_as!(OrderRow, "SELECT id, user_id, saga_id, status, reason, reason_detail, total_minor, currency, address_name, street, postal_code, city, country, method, card_token, payment_id, shipment_id, cancellation_id, created_at, updated_at FROM orders WHERE id = $1", id.0)
        .fetch_optional(db.pool())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let lines = lines(db.pool(), &[row.id]).await?;
    let cancellations = cancellation::of_ids(db.pool(), row.cancellation_id.as_slice()).await?;
    row.read(lines, &cancellations).map(Some)
}

/// The orders of a user, newest first, older than `before`.
pub(crate) async fn list(
    db: &Db,
    user: &UserId,
    before: Option<OrderId>,
    limit: i64,
) -> Result<Vec<Order>, Error> {
    let rows = sqlx::query_as!(
        OrderRow,
        "SELECT id, user_id, saga_id, status, reason, reason_detail, total_minor, currency, address_name, street, postal_code, city, country, method, card_token, payment_id, shipment_id, cancellation_id, created_at, updated_at
           FROM orders WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2)
          ORDER BY id DESC LIMIT $3",
        user.as_str(),
        before.map(|id| id.0),
        limit
    )
    .fetch_all(db.pool())
    .await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let all = lines(db.pool(), &ids).await?;
    let cancelled: Vec<Uuid> = rows.iter().filter_map(|row| row.cancellation_id).collect();
    let cancellations = cancellation::of_ids(db.pool(), &cancelled).await?;
    rows.into_iter()
        .map(|row| {
            let own = all
                .iter()
                .filter(|line| line.order_id == row.id)
                .cloned()
                .collect();
            row.read(own, &cancellations)
        })
        .collect()
}

async fn lines<'c>(
    from: impl sqlx::PgExecutor<'c>,
    orders: &[Uuid],
) -> Result<Vec<LineRow>, Error> {
    Ok(sqlx::query_as!(
        LineRow,
        "SELECT order_id, sku, name, quantity, price_minor FROM order_line
          WHERE order_id = ANY($1) ORDER BY order_id, line",
        orders
    )
    .fetch_all(from)
    .await?)
}

#[derive(Clone)]
struct LineRow {
    order_id: Uuid,
    sku: String,
    name: String,
    quantity: i32,
    price_minor: i64,
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
    fn read(
        self,
        lines: Vec<LineRow>,
        cancellations: &HashMap<Uuid, Cancellation>,
    ) -> Result<Order, Error> {
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
        let lines = lines.into_iter().map(|line| {
            let sku = line.sku.parse();
            Ok(Line {
                sku: sku.map_err(|e| Error::inconsistent("order_line", "sku", self.id, e))?,
                name: line.name,
                quantity: line.quantity,
                price: Money::new(line.price_minor, currency),
            })
        });
        Ok(Order {
            id: OrderId(self.id),
            saga_id: SagaId(self.saga_id),
            user: user(&self.user_id, self.id)?,
            status: status.read()?,
            lines: lines.collect::<Result<_, Error>>()?,
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
