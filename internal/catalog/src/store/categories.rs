use palinode_db::{Db, Error};

use crate::domain::Category;

/// Categories by name, after that of `after`.
pub(crate) async fn list(
    db: &Db,
    after: Option<&Category>,
    limit: i64,
) -> Result<Vec<Category>, Error> {
    let (name, id) = after.map_or(("", ""), |after| (&after.name, &after.id));
    // no name is empty, so the first page begins after that
    let rows = sqlx::query_as!(
        Category,
        r#"SELECT id AS "id!", name AS "name!" FROM category WHERE (name, id) > ($1, $2)
            ORDER BY name, id LIMIT $3"#,
        name,
        id,
        limit,
    );
    Ok(rows.fetch_all(db.pool()).await?)
}

/// Makes a category, unless it is there; as it is then.
pub(crate) async fn make(db: &Db, category: &Category) -> Result<Category, Error> {
    let made = sqlx::query_as!(
        Category,
        r#"INSERT INTO category (id, name) VALUES ($1, $2)
           -- changes nothing, and answers what is there
           ON CONFLICT (id) DO UPDATE SET name = category.name
           RETURNING id AS "id!", name AS "name!""#,
        category.id,
        category.name,
    );
    Ok(made.fetch_one(db.pool()).await?)
}

/// What became of a category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    Gone,
    NotThere,
    InUse,
}

/// Deletes a category that no product is in. Who is just putting one in is waited for.
pub(crate) async fn delete(db: &Db, id: &str) -> Result<Deleted, Error> {
    let deleted = sqlx::query!("DELETE FROM category WHERE id = $1", id)
        .execute(db.pool())
        .await
        .map_err(Error::from);
    match deleted {
        Ok(deleted) if deleted.rows_affected() == 1 => Ok(Deleted::Gone),
        Ok(_) => Ok(Deleted::NotThere),
        Err(error) if error.constraint() == Some(super::products::CATEGORY) => Ok(Deleted::InUse),
        Err(error) => Err(error),
    }
}
