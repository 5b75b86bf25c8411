use palinode_auth::Role;
use palinode_db::{Db, Error, Tx};
use palinode_values::{Timestamp, UserId};
use sqlx::PgExecutor;

use crate::domain::{Account, Registration, Verified};

/// A row of `account`, as every statement here selects it.
struct Row {
    id: String,
    email: String,
    user_name: String,
    first_name: String,
    last_name: String,
    password_hash: String,
    password_version: i32,
    roles: Vec<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Row {
    fn read(self) -> Result<Verified, Error> {
        let bad = |column, why: &dyn ToString| {
            Error::inconsistent("account", column, &self.id, why.to_string())
        };
        let roles = self.roles.iter().map(|role| role.parse::<Role>());
        let roles = roles
            .collect::<Result<_, _>>()
            .map_err(|why| bad("roles", &why))?;
        Ok(Verified {
            account: Account {
                id: self.id.parse().map_err(|why| bad("id", &why))?,
                email: self.email,
                user_name: self.user_name,
                first_name: self.first_name,
                last_name: self.last_name,
                roles,
                created_at: self.created_at,
                updated_at: self.updated_at,
            },
            password_hash: self.password_hash,
            password_version: self.password_version,
        })
    }
}

/// What became of a new account.
pub(crate) enum Inserted {
    Account(Box<Account>),
    UserNameTaken,
    EmailTaken,
}

/// Writes a new account. Where it is refused, the transaction can only be rolled back.
pub(crate) async fn insert(
    tx: &mut Tx,
    id: &UserId,
    registration: &Registration,
    password_hash: &str,
    roles: &[Role],
) -> Result<Inserted, Error> {
    let written = sqlx::query_as!(
        Row,
        r#"INSERT INTO account (id, email, user_name, first_name, last_name, password_hash, roles)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           RETURNING id AS "id!", email, user_name, first_name, last_name, password_hash, password_version, roles,
                     created_at, updated_at"#,
        id.as_str(),
        registration.email,
        registration.user_name,
        registration.first_name,
        registration.last_name,
        password_hash,
        &names(roles),
    )
    .fetch_one(tx.conn())
    .await
    .map_err(Error::from);
    match written {
        Ok(row) => Ok(Inserted::Account(Box::new(row.read()?.account))),
        Err(error) => match error.constraint() {
            Some("account_user_name_key") => Ok(Inserted::UserNameTaken),
            Some("account_email_key") => Ok(Inserted::EmailTaken),
            _ => Err(error),
        },
    }
}

/// An account, on a connection of the pool or as a transaction sees it.
pub(crate) async fn find(on: impl PgExecutor<'_>, id: &UserId) -> Result<Option<Verified>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id!", email, user_name, first_name, last_name, password_hash, password_version, roles,
                  created_at, updated_at
             FROM account WHERE id = $1"#,
        id.as_str(),
    )
    .fetch_optional(on)
    .await?;
    row.map(Row::read).transpose()
}

/// An account that waits for us, and for nobody else, from now on.
pub(crate) async fn lock(tx: &mut Tx, id: &UserId) -> Result<Option<Verified>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id!", email, user_name, first_name, last_name, password_hash, password_version, roles,
                  created_at, updated_at
             FROM account WHERE id = $1 FOR NO KEY UPDATE"#,
        id.as_str(),
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map(Row::read).transpose()
}

/// The account with this user name.
pub(crate) async fn find_by_name(db: &Db, user_name: &str) -> Result<Option<Verified>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id!", email, user_name, first_name, last_name, password_hash, password_version, roles,
                  created_at, updated_at
             FROM account WHERE user_name = lower($1)"#,
        user_name,
    )
    .fetch_optional(db.pool())
    .await?;
    row.map(Row::read).transpose()
}

/// The account with this e-mail address, in whatever case.
pub(crate) async fn find_by_email(
    on: impl PgExecutor<'_>,
    email: &str,
) -> Result<Option<Verified>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id!", email, user_name, first_name, last_name, password_hash, password_version, roles,
                  created_at, updated_at
             FROM account WHERE lower(email) = lower($1)"#,
        email,
    )
    .fetch_optional(on)
    .await?;
    row.map(Row::read).transpose()
}

/// Accounts after `after`, by id.
pub(crate) async fn list(
    db: &Db,
    after: Option<&UserId>,
    limit: i64,
) -> Result<Vec<Account>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id!", email, user_name, first_name, last_name, password_hash, password_version, roles,
                  created_at, updated_at
             FROM account WHERE id > $1 ORDER BY id LIMIT $2"#,
        after.map_or("", UserId::as_str),
        limit,
    )
    .fetch_all(db.pool())
    .await?;
    rows.into_iter()
        .map(|row| Ok(row.read()?.account))
        .collect()
}

/// Waits until nobody else changes who is an administrator, and tells who is.
pub(crate) async fn lock_admins(tx: &mut Tx) -> Result<Vec<String>, Error> {
    // in one order, so that two who do this do not wait for each other
    let ids = sqlx::query_scalar!(
        r#"SELECT id AS "id!" FROM account WHERE 'admin' = ANY (roles) ORDER BY id FOR UPDATE"#,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids)
}

/// Sets the roles of an account; `None`: it is gone.
pub(crate) async fn set_roles(
    tx: &mut Tx,
    id: &UserId,
    roles: &[Role],
) -> Result<Option<Account>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"UPDATE account SET roles = $2, updated_at = now() WHERE id = $1
           RETURNING id AS "id!", email, user_name, first_name, last_name, password_hash, password_version, roles,
                     created_at, updated_at"#,
        id.as_str(),
        &names(roles),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(Row::read).transpose()?.map(|found| found.account))
}

/// Sets a new password, if it is still that of `version`; whether it was.
pub(crate) async fn set_password(
    tx: &mut Tx,
    id: &UserId,
    version: i32,
    password_hash: &str,
) -> Result<bool, Error> {
    let changed = sqlx::query!(
        "UPDATE account SET password_hash = $3, password_version = password_version + 1, updated_at = now()
          WHERE id = $1 AND password_version = $2",
        id.as_str(),
        version,
        password_hash,
    )
    .execute(tx.conn())
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Writes another hash of the same password.
pub(crate) async fn rehash(
    tx: &mut Tx,
    id: &UserId,
    version: i32,
    password_hash: &str,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE account SET password_hash = $3 WHERE id = $1 AND password_version = $2",
        id.as_str(),
        version,
        password_hash,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes an account, its sessions and its registration; whether there was one.
pub(crate) async fn delete(tx: &mut Tx, id: &UserId) -> Result<bool, Error> {
    let gone = sqlx::query!("DELETE FROM account WHERE id = $1", id.as_str())
        .execute(tx.conn())
        .await?;
    Ok(gone.rows_affected() == 1)
}

fn names(roles: &[Role]) -> Vec<String> {
    roles.iter().map(|role| role.as_str().to_owned()).collect()
}
