use palinode_auth::Role;
use palinode_values::UserId;

use super::delete_user::require_another_admin;
use crate::app::{Desk, Error};
use crate::domain::{Account, Reason};
use crate::store::accounts;

/// Sets what a user is trusted with; `roles` as an account has them.
///
/// # Errors
/// `USER_NOT_FOUND`; `LAST_ADMIN`.
pub(crate) async fn set_roles(
    desk: &Desk,
    user: &UserId,
    roles: &[Role],
) -> Result<Account, Error> {
    desk.db
        .run_tx("identity.set_roles", async |mut tx| {
            if !roles.contains(&Role::Admin) {
                require_another_admin(&mut tx, user).await?;
            }
            let account = accounts::set_roles(&mut tx, user, roles).await?;
            Ok((tx, account.ok_or(Error::Refused(Reason::UserNotFound))?))
        })
        .await
}
