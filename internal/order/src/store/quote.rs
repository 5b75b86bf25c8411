use palinode_db::{Db, Error, Tx};
use palinode_values::{Currency, Money, OrderId, QuoteId, Timestamp, UserId};
use uuid::Uuid;

use super::order::lines;
use crate::domain::Quote;

/// Writes a new quote.
pub(crate) async fn insert(tx: &mut Tx, quote: &Quote) -> Result<(), Error> {
    let skus: Vec<&str> = quote.lines.iter().map(|line| line.sku.as_str()).collect();
    let names: Vec<&str> = quote.lines.iter().map(|line| line.name.as_str()).collect();
    let quantities: Vec<i32> = quote.lines.iter().map(|line| line.quantity).collect();
    let prices: Vec<i64> = quote.lines.iter().map(|line| line.price.minor).collect();
    sqlx::query!(
        "INSERT INTO quote (id, user_id, total_minor, currency, skus, names, quantities, prices_minor,
                            created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        quote.id.0,
        quote.user.as_str(),
        quote.total.minor,
        quote.total.currency.as_str(),
        &skus as &[&str],
        &names as &[&str],
        &quantities,
        &prices,
        quote.created_at,
        quote.expires_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// One quote.
pub(crate) async fn get(
    from: impl sqlx::PgExecutor<'_>,
    id: QuoteId,
) -> Result<Option<Quote>, Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, user_id, total_minor, currency, skus, names, quantities, prices_minor, created_at,
                expires_at, order_id
           FROM quote WHERE id = $1",
        id.0
    )
    .fetch_optional(from)
    .await?;
    row.map(Quote::try_from).transpose()
}

/// Locks a quote: it is ordered once.
pub(crate) async fn lock(tx: &mut Tx, id: QuoteId) -> Result<Option<Quote>, Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, user_id, total_minor, currency, skus, names, quantities, prices_minor, created_at,
                expires_at, order_id
           FROM quote WHERE id = $1 FOR UPDATE",
        id.0
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map(Quote::try_from).transpose()
}

/// A quote that is locked was ordered.
pub(crate) async fn sell(tx: &mut Tx, id: QuoteId, order: OrderId) -> Result<(), Error> {
    let sold = sqlx::query!(
        "UPDATE quote SET order_id = $2 WHERE id = $1 AND order_id IS NULL",
        id.0,
        order.0
    )
    .execute(tx.conn())
    .await?;
    if sold.rows_affected() != 1 {
        let why = "a locked quote was ordered by another";
        return Err(Error::inconsistent("quote", "order_id", id, why));
    }
    Ok(())
}

/// Removes quotes that had expired at `before`, `limit` at the most; returns how many.
pub(crate) async fn purge(db: &Db, before: Timestamp, limit: i64) -> Result<u64, Error> {
    let removed = sqlx::query!(
        "DELETE FROM quote WHERE id IN (
           SELECT id FROM quote WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
        before,
        limit
    )
    .execute(db.pool())
    .await?;
    Ok(removed.rows_affected())
}

/// Removes quotes of a user, `limit` at the most; returns how many. One that somebody holds is being
/// ordered: a later look finds it.
pub(crate) async fn delete_of(tx: &mut Tx, user: &str, limit: i64) -> Result<u64, Error> {
    let removed = sqlx::query!(
        "DELETE FROM quote WHERE id IN (
           SELECT id FROM quote WHERE user_id = $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        user,
        limit
    )
    .execute(tx.conn())
    .await?;
    Ok(removed.rows_affected())
}

struct Row {
    id: Uuid,
    user_id: String,
    total_minor: i64,
    currency: String,
    skus: Vec<String>,
    names: Vec<String>,
    quantities: Vec<i32>,
    prices_minor: Vec<i64>,
    created_at: Timestamp,
    expires_at: Timestamp,
    order_id: Option<Uuid>,
}

impl TryFrom<Row> for Quote {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let currency: Currency = row
            .currency
            .parse()
            .map_err(|e| Error::inconsistent("quote", "currency", row.id, e))?;
        let user: UserId = row
            .user_id
            .parse()
            .map_err(|e| Error::inconsistent("quote", "user_id", row.id, e))?;
        let columns = (row.skus, row.names, row.quantities, row.prices_minor);
        let lines = lines(columns, currency)
            .map_err(|e| Error::inconsistent("quote", "skus", row.id, e))?;
        Ok(Self {
            id: QuoteId(row.id),
            user,
            lines,
            total: Money::new(row.total_minor, currency),
            created_at: row.created_at,
            expires_at: row.expires_at,
            sold_as: row.order_id.map(OrderId),
        })
    }
}
