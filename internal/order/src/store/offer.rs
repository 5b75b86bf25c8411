use palinode_db::{Db, Error};
use palinode_values::{Currency, Money};

use crate::domain::Offer;

/// Puts offers into the database; one that is there already gets the new name and price.
///
/// # Errors
/// Those of the database.
pub async fn seed(db: &Db, offers: &[Offer]) -> Result<(), Error> {
    let skus: Vec<String> = offers.iter().map(|o| o.sku.to_string()).collect();
    let names: Vec<String> = offers.iter().map(|o| o.name.clone()).collect();
    let prices: Vec<i64> = offers.iter().map(|o| o.price.minor).collect();
    let currencies: Vec<String> = offers
        .iter()
        .map(|o| o.price.currency.to_string())
        .collect();
    sqlx::query!(
        "INSERT INTO offer (sku, name, price_minor, currency)
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])
         ON CONFLICT (sku) DO UPDATE
            SET name = excluded.name, price_minor = excluded.price_minor,
                currency = excluded.currency",
        &skus,
        &names,
        &prices,
        &currencies
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Offers by SKU, after `after`.
pub(crate) async fn list(db: &Db, after: &str, limit: i64) -> Result<Vec<Offer>, Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT sku, name, price_minor, currency FROM offer WHERE sku > $1 ORDER BY sku LIMIT $2",
        after,
        limit
    )
    .fetch_all(db.pool())
    .await?;
    rows.into_iter().map(Offer::try_from).collect()
}

pub(super) struct Row {
    pub(super) sku: String,
    pub(super) name: String,
    pub(super) price_minor: i64,
    pub(super) currency: String,
}

impl TryFrom<Row> for Offer {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let bad = |column, why: String| Error::inconsistent("offer", column, &row.sku, why);
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
