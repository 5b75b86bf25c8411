//! Carts, as they are stored and as they are shown.

use palinode_db::{Error, Tx};
use palinode_values::{Sku, UserId};

use super::product;
use crate::domain::{Cart, Product, ShownLine};

/// Locks the cart of a user; an empty one is not there.
pub(crate) async fn lock(tx: &mut Tx, user: &UserId) -> Result<Cart, Error> {
    let row = sqlx::query!(
        "SELECT skus, quantities FROM cart WHERE user_id = $1 FOR UPDATE",
        user.as_str()
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map_or_else(
        || Ok(Cart::default()),
        |row| cart(user, row.skus, row.quantities),
    )
}

/// Locks the cart of a user, and makes one where there is none.
pub(crate) async fn lock_or_make(tx: &mut Tx, user: &UserId) -> Result<Cart, Error> {
    // the update is what locks it, and what waits for who takes it away just now
    let row = sqlx::query!(
        "INSERT INTO cart (user_id, skus, quantities) VALUES ($1, '{}', '{}')
         ON CONFLICT (user_id) DO UPDATE SET updated_at = now()
         RETURNING skus, quantities",
        user.as_str()
    )
    .fetch_one(tx.conn())
    .await?;
    cart(user, row.skus, row.quantities)
}

/// Reads what is in the cart of a user.
pub(crate) async fn get(tx: &mut Tx, user: &UserId) -> Result<Cart, Error> {
    let row = sqlx::query!(
        "SELECT skus, quantities FROM cart WHERE user_id = $1",
        user.as_str()
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map_or_else(
        || Ok(Cart::default()),
        |row| cart(user, row.skus, row.quantities),
    )
}

/// Writes a cart that is locked.
pub(crate) async fn save(tx: &mut Tx, user: &UserId, cart: &Cart) -> Result<(), Error> {
    if cart.lines().is_empty() {
        return delete(tx, user.as_str()).await;
    }
    let (skus, quantities): (Vec<&str>, Vec<i32>) = cart
        .lines()
        .iter()
        .map(|(sku, quantity)| (sku.as_str(), *quantity))
        .unzip();
    sqlx::query!(
        "UPDATE cart SET skus = $2, quantities = $3, updated_at = now() WHERE user_id = $1",
        user.as_str(),
        &skus as &[&str],
        &quantities,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Empties the cart of a user.
pub(crate) async fn delete(tx: &mut Tx, user: &str) -> Result<(), Error> {
    sqlx::query!("DELETE FROM cart WHERE user_id = $1", user)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// The lines of a user's cart, each with what it is now.
pub(crate) async fn show(
    from: impl sqlx::PgExecutor<'_>,
    user: &UserId,
) -> Result<Vec<ShownLine>, Error> {
    let rows = sqlx::query!(
        r#"SELECT l.sku AS "sku!", l.quantity AS "quantity!", p.name AS "name?",
                  p.price_minor AS "price_minor?", p.currency AS "currency?"
             FROM cart c
            CROSS JOIN LATERAL unnest(c.skus, c.quantities) WITH ORDINALITY AS l(sku, quantity, line)
             LEFT JOIN product p ON p.sku = l.sku AND NOT p.deleted
            WHERE c.user_id = $1
            ORDER BY l.line"#,
        user.as_str()
    )
    .fetch_all(from)
    .await?;
    rows.into_iter()
        .map(|row| {
            let priced = row.name.zip(row.price_minor).zip(row.currency);
            let sold = priced.map(|((name, price_minor), currency)| {
                let sku = row.sku.clone();
                Product::try_from(product::Row {
                    sku,
                    name,
                    price_minor,
                    currency,
                })
            });
            Ok(ShownLine {
                sku: sku(user, &row.sku)?,
                quantity: row.quantity,
                sold: sold.transpose()?,
            })
        })
        .collect()
}

fn cart(user: &UserId, skus: Vec<String>, quantities: Vec<i32>) -> Result<Cart, Error> {
    let lines = skus.iter().zip(quantities);
    let lines = lines.map(|(text, quantity)| Ok((sku(user, text)?, quantity)));
    lines.collect::<Result<_, Error>>().map(Cart::of)
}

fn sku(user: &UserId, text: &str) -> Result<Sku, Error> {
    text.parse()
        .map_err(|e| Error::inconsistent("cart", "skus", user, e))
}
