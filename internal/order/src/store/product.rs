//! What can be ordered: a copy of what the catalogue says, kept by its events.

use std::collections::{BTreeMap, HashMap};

use palinode_db::{Db, Error, Tx};
use palinode_values::{Currency, Money, Sku};
use uuid::Uuid;

use crate::domain::{Product, Revised};

/// Puts products into the database as if nobody had heard of them yet: what events say overwrites it,
/// and what they have said stays. One that was put in before gets the new name and price.
///
/// # Errors
/// Those of the database.
pub async fn seed(db: &Db, products: &[Product]) -> Result<(), Error> {
    let skus: Vec<String> = products.iter().map(|p| p.sku.to_string()).collect();
    let names: Vec<String> = products.iter().map(|p| p.name.clone()).collect();
    let prices: Vec<i64> = products.iter().map(|p| p.price.minor).collect();
    let currencies: Vec<String> = products
        .iter()
        .map(|p| p.price.currency.to_string())
        .collect();
    sqlx::query!(
        "INSERT INTO product AS p (sku, name, price_minor, currency, revision)
         SELECT n.sku, n.name, n.price_minor, n.currency, 0
           FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])
             AS n(sku, name, price_minor, currency)
         ON CONFLICT (sku) DO UPDATE
            SET name = excluded.name, price_minor = excluded.price_minor,
                currency = excluded.currency
          WHERE p.revision = 0",
        &skus,
        &names,
        &prices,
        &currencies
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Writes what became of products: each is as its greatest revision says, whatever was heard before it
/// or comes after it.
pub(crate) async fn revise(tx: &mut Tx, heard: &[Revised]) -> Result<(), Error> {
    // in key order: two batches would wait for each other
    let mut last: BTreeMap<&Sku, &Revised> = BTreeMap::new();
    for revised in heard {
        let known = last.entry(&revised.sku).or_insert(revised);
        if known.revision < revised.revision {
            *known = revised;
        }
    }
    let (skus, last): (Vec<&str>, Vec<&Revised>) = last
        .into_iter()
        .map(|(sku, one)| (sku.as_str(), one))
        .unzip();
    let ids: Vec<Uuid> = last.iter().map(|one| one.product_id).collect();
    let revisions: Vec<i64> = last.iter().map(|one| one.revision).collect();
    let sold = |one: &&Revised| one.sold.clone().unzip();
    let (names, prices): (Vec<Option<String>>, Vec<Option<Money>>) = last.iter().map(sold).unzip();
    let minors: Vec<Option<i64>> = prices.iter().map(|price| price.map(|p| p.minor)).collect();
    let currencies: Vec<Option<&str>> = prices
        .iter()
        .map(|price| price.as_ref().map(|p| p.currency.as_str()))
        .collect();
    sqlx::query!(
        "INSERT INTO product AS p (sku, product_id, name, price_minor, currency, revision, deleted)
         SELECT n.sku, n.product_id, n.name, n.price_minor, n.currency, n.revision, n.name IS NULL
           FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])
             AS n(sku, product_id, name, price_minor, currency, revision)
         ON CONFLICT (sku) DO UPDATE
            SET product_id = excluded.product_id, name = excluded.name,
                price_minor = excluded.price_minor, currency = excluded.currency,
                revision = excluded.revision, deleted = excluded.deleted
          WHERE p.revision < excluded.revision",
        &skus as &[&str],
        &ids,
        &names as &[Option<String>],
        &minors as &[Option<i64>],
        &currencies as &[Option<&str>],
        &revisions,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What can be ordered of `skus`.
pub(crate) async fn of<'a>(
    tx: &mut Tx,
    skus: impl IntoIterator<Item = &'a Sku>,
) -> Result<HashMap<Sku, Product>, Error> {
    let skus: Vec<&str> = skus.into_iter().map(Sku::as_str).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT sku, name AS "name!", price_minor AS "price_minor!", currency AS "currency!"
             FROM product WHERE sku = ANY($1::text[]) AND NOT deleted"#,
        &skus as &[&str],
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            let product = Product::try_from(row)?;
            Ok((product.sku.clone(), product))
        })
        .collect()
}

/// A product that is not deleted.
pub(super) struct Row {
    pub(super) sku: String,
    pub(super) name: String,
    pub(super) price_minor: i64,
    pub(super) currency: String,
}

impl TryFrom<Row> for Product {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let bad = |column, why: String| Error::inconsistent("product", column, &row.sku, why);
        let currency: Currency = row
            .currency
            .parse()
            .map_err(|e| bad("currency", format!("{e}")))?;
        Ok(Self {
            sku: row.sku.parse().map_err(|e| bad("sku", format!("{e}")))?,
            name: row.name.clone(),
            price: Money::new(row.price_minor, currency),
        })
    }
}
