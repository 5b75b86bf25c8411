use palinode_auth::Role;
use palinode_db::{Error as DbError, Tx};
use palinode_telemetry::TraceContext;
use palinode_values::UserId;

use super::register_user::{announce, insert};
use crate::app::{Desk, Error};
use crate::domain::{Ended, Registration};
use crate::store::{accounts, keys, sessions};

/// Makes sure that there is an administrator: while there is none, the account with the address of
/// `registration` becomes one, or one is registered with it.
///
/// Addresses are not verified, so the account may be a stranger's who has waited for this. It gets the
/// password of `registration`, and its sessions end.
///
/// # Errors
/// `USER_NAME_TAKEN`; the database's.
pub(crate) async fn first_admin(desk: &Desk, registration: &Registration) -> Result<(), Error> {
    let hash = desk.passwords.hash(&registration.password).await?;
    let id = UserId::new(&desk.clock);
    desk.db
        .run_tx("identity.first_admin", |tx| {
            write(tx, desk, registration, &hash, &id)
        })
        .await?;
    desk.doorbell.ring();
    Ok(())
}

async fn write(
    mut tx: Tx,
    desk: &Desk,
    registration: &Registration,
    hash: &str,
    id: &UserId,
) -> Result<(Tx, ()), Error> {
    // of many who start at once, one makes him
    keys::lock(&mut tx).await?;
    if !accounts::lock_admins(&mut tx).await?.is_empty() {
        return Ok((tx, ()));
    }
    // locked before it is believed: its owner may be changing his password, or deleting himself
    let found = match accounts::find_by_email(tx.conn(), &registration.email).await? {
        Some(found) => accounts::lock(&mut tx, &found.account.id).await?,
        None => None,
    };
    match found {
        Some(found) => {
            let id = &found.account.id;
            let mut roles = found.account.roles;
            roles.push(Role::Admin);
            accounts::set_roles(&mut tx, id, &roles).await?;
            if !accounts::set_password(&mut tx, id, found.password_version, hash).await? {
                let why = "a locked account has another version than when it was locked";
                return Err(DbError::inconsistent("account", "password_version", id, why).into());
            }
            sessions::end_others(&mut tx, id, None, Ended::PasswordChanged).await?;
        }
        None => {
            let roles = [Role::Customer, Role::Admin];
            insert(&mut tx, id, registration, hash, &roles).await?;
            announce(&mut tx, desk, id, &TraceContext::root()).await?;
        }
    }
    tracing::info!("there is an administrator now");
    Ok((tx, ()))
}
