use palinode_db::{Db, Error, Tx};
use palinode_values::{Currency, Money, ProductId, Sku, Timestamp};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::{Draft, Key, Listing, Product, Sort, sort_name, sought};

/// The constraint that a product's category is one.
pub(super) const CATEGORY: &str = "product_category";

/// A row of `product`, as every statement here selects it.
struct Row {
    id: Uuid,
    sku: String,
    name: String,
    description: String,
    category_id: Option<String>,
    price_minor: i64,
    currency: String,
    picture_url: String,
    revision: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Row {
    fn read(self) -> Result<Product, Error> {
        let bad = |column, why: &dyn ToString| {
            Error::inconsistent("product", column, self.id, why.to_string())
        };
        let currency: Currency = self.currency.parse().map_err(|e| bad("currency", &e))?;
        Ok(Product {
            id: ProductId(self.id),
            sku: self.sku.parse().map_err(|e| bad("sku", &e))?,
            name: self.name,
            description: self.description,
            category: self.category_id,
            price: Money::new(self.price_minor, currency),
            picture_url: self.picture_url,
            revision: self.revision,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// What became of a new product.
pub(crate) enum Inserted {
    Product(Box<Product>),
    SkuTaken,
    NoCategory,
}

/// Writes a new product. Where it is refused, the transaction can only be rolled back.
pub(crate) async fn insert(tx: &mut Tx, id: ProductId, draft: &Draft) -> Result<Inserted, Error> {
    let written = sqlx::query_as!(
        Row,
        r#"INSERT INTO product (id, sku, name, description, category_id, price_minor, currency, picture_url,
                                sort_name, sought)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
           RETURNING id, sku AS "sku!", name, description, category_id, price_minor, currency, picture_url,
                     revision, created_at, updated_at"#,
        id.0,
        draft.sku.as_str(),
        draft.name,
        draft.description,
        draft.category.as_deref(),
        draft.price.minor,
        draft.price.currency.as_str(),
        draft.picture_url,
        sort_name(&draft.name),
        sought(draft.sku.as_str(), &draft.name, &draft.description),
    )
    .fetch_one(tx.conn())
    .await
    .map_err(Error::from);
    match written {
        Ok(row) => Ok(Inserted::Product(Box::new(row.read()?))),
        Err(error) => match error.constraint() {
            Some("product_sku_key") => Ok(Inserted::SkuTaken),
            Some(CATEGORY) => Ok(Inserted::NoCategory),
            _ => Err(error),
        },
    }
}

/// Whether a product has this id or this SKU, or had it.
pub(crate) async fn is_known(tx: &mut Tx, id: ProductId, sku: &Sku) -> Result<bool, Error> {
    let known = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM product WHERE id = $1 OR sku = $2) AS "known!""#,
        id.0,
        sku.as_str(),
    );
    Ok(known.fetch_one(tx.conn()).await?)
}

/// A product, on a connection of the pool or as a transaction sees it.
pub(crate) async fn find(on: impl PgExecutor<'_>, id: ProductId) -> Result<Option<Product>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, sku AS "sku!", name, description, category_id, price_minor, currency, picture_url, revision,
                  created_at, updated_at
             FROM product WHERE id = $1 AND deleted_at IS NULL"#,
        id.0,
    )
    .fetch_optional(on)
    .await?;
    row.map(Row::read).transpose()
}

/// Products of these ids and SKUs, in no order.
pub(crate) async fn find_many(
    db: &Db,
    ids: &[ProductId],
    skus: &[Sku],
) -> Result<Vec<Product>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let skus: Vec<&str> = skus.iter().map(Sku::as_str).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id, sku AS "sku!", name, description, category_id, price_minor, currency, picture_url, revision,
                  created_at, updated_at
             FROM product WHERE (id = ANY($1) OR sku = ANY($2)) AND deleted_at IS NULL"#,
        &ids,
        &skus as &[&str],
    )
    .fetch_all(db.pool())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// What is found of a product that is to be changed.
pub(crate) enum Found {
    Live(Box<Product>),
    Deleted,
    NotThere,
}

/// A product that waits for us, and for nobody else, from now on.
pub(crate) async fn lock(tx: &mut Tx, id: ProductId) -> Result<Found, Error> {
    let row = sqlx::query!(
        r#"SELECT id, sku AS "sku!", name, description, category_id, price_minor, currency, picture_url, revision,
                  created_at, updated_at, deleted_at
             FROM product WHERE id = $1 FOR NO KEY UPDATE"#,
        id.0,
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else {
        return Ok(Found::NotThere);
    };
    if row.deleted_at.is_some() {
        return Ok(Found::Deleted);
    }
    let row = Row {
        id: row.id,
        sku: row.sku,
        name: row.name,
        description: row.description,
        category_id: row.category_id,
        price_minor: row.price_minor,
        currency: row.currency,
        picture_url: row.picture_url,
        revision: row.revision,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    Ok(Found::Live(Box::new(row.read()?)))
}

/// Writes a product that the transaction has locked, as its next revision. `None`: there is no such
/// category, and the transaction can only be rolled back.
pub(crate) async fn update(tx: &mut Tx, product: &Product) -> Result<Option<Product>, Error> {
    let written = sqlx::query_as!(
        Row,
        r#"UPDATE product
              SET name = $2, description = $3, category_id = $4, price_minor = $5, currency = $6,
                  picture_url = $7, sort_name = $8, sought = $9, revision = revision + 1, updated_at = now()
            WHERE id = $1
            RETURNING id, sku AS "sku!", name, description, category_id, price_minor, currency, picture_url,
                      revision, created_at, updated_at"#,
        product.id.0,
        product.name,
        product.description,
        product.category.as_deref(),
        product.price.minor,
        product.price.currency.as_str(),
        product.picture_url,
        sort_name(&product.name),
        sought(product.sku.as_str(), &product.name, &product.description),
    )
    .fetch_one(tx.conn())
    .await
    .map_err(Error::from);
    match written {
        Ok(row) => row.read().map(Some),
        Err(error) if error.constraint() == Some(CATEGORY) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes a product that the transaction has locked: its row stays, in no category. Its revision then.
pub(crate) async fn delete(tx: &mut Tx, id: ProductId) -> Result<i64, Error> {
    let revision = sqlx::query_scalar!(
        "UPDATE product SET deleted_at = now(), updated_at = now(), category_id = NULL, revision = revision + 1
          WHERE id = $1 RETURNING revision",
        id.0,
    );
    Ok(revision.fetch_one(tx.conn()).await?)
}

/// Reads a page of one sort. `$after` compares with `$5` and `$6`, which may be null.
macro_rules! page {
    ($db:expr, $filter:expr, $limit:expr, $after:literal, $order:literal, $key:expr, $id:expr) => {
        sqlx::query_as!(
            Row,
            r#"SELECT id, sku AS "sku!", name, description, category_id, price_minor, currency, picture_url,
                      revision, created_at, updated_at
                 FROM product
                WHERE deleted_at IS NULL
                  AND ($1::text IS NULL OR category_id = $1)
                  AND ($2::text IS NULL OR words @@ to_tsquery('simple', $2))
                  AND ($3::bigint IS NULL OR price_minor >= $3)
                  AND ($4::bigint IS NULL OR price_minor <= $4)
                  AND ($6::uuid IS NULL OR "# + $after + ") ORDER BY " + $order + " LIMIT $7",
            $filter.category.as_deref(),
            $filter.sought.as_ref().map(|sought| sought.tsquery()),
            $filter.min_price,
            $filter.max_price,
            $key,
            $id,
            $limit,
        )
        .fetch_all($db.pool())
        .await
    };
}

/// Products of a list, `more` more than its page has room for. One statement, planned for what it is
/// asked: what is null falls out of it.
pub(crate) async fn list(db: &Db, listing: &Listing, more: u16) -> Result<Vec<Product>, Error> {
    let Listing {
        filter,
        sort,
        after,
        size,
    } = listing;
    let limit = i64::from(size + more);
    let (mut name, mut price, mut age, mut id) = (None, None, None, None);
    match after {
        None => {}
        Some(Key::Name(of, last)) => (name, id) = (Some(of.as_str()), Some(last.0)),
        Some(Key::Price(of, last)) => (price, id) = (Some(*of), Some(last.0)),
        Some(Key::Age(of, last)) => (age, id) = (Some(*of), Some(last.0)),
    }
    let rows = match sort {
        Sort::Name => page!(
            db,
            filter,
            limit,
            "(sort_name, id) > ($5, $6)",
            "sort_name, id",
            name,
            id
        ),
        Sort::NameDescending => page!(
            db,
            filter,
            limit,
            "(sort_name, id) < ($5, $6)",
            "sort_name DESC, id DESC",
            name,
            id
        ),
        Sort::Price => page!(
            db,
            filter,
            limit,
            "(price_minor, id) > ($5, $6)",
            "price_minor, id",
            price,
            id
        ),
        Sort::PriceDescending => page!(
            db,
            filter,
            limit,
            "(price_minor, id) < ($5, $6)",
            "price_minor DESC, id DESC",
            price,
            id
        ),
        Sort::Newest => page!(
            db,
            filter,
            limit,
            "(created_at, id) < ($5, $6)",
            "created_at DESC, id DESC",
            age,
            id
        ),
    };
    rows?.into_iter().map(Row::read).collect()
}
