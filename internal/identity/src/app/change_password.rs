use palinode_rpc::Violations;
use palinode_values::{SessionId, UserId};

use super::try_password::try_password;
use crate::app::{Desk, Error};
use crate::domain::{Ended, Password, Reason, check_password};
use crate::store::{accounts, sessions};

/// Sets a new password, and ends all sessions but the one that asks.
///
/// # Errors
/// `WRONG_PASSWORD`: the current one is another. `Throttled`, as a sign-in; `USER_NOT_FOUND`; `Invalid`: the
/// new one is too short, or too easy.
pub(crate) async fn change_password(
    desk: &Desk,
    user: &UserId,
    session: Option<SessionId>,
    current: &Password,
    new: &str,
) -> Result<(), Error> {
    let found = accounts::find(desk.db.pool(), user).await?;
    let found = found.ok_or(Error::Refused(Reason::UserNotFound))?;
    let account = &found.account;
    let new = check_password(new, &account.user_name, &account.email)
        .map_err(|(reason, words)| Violations::of("new_password", reason, words))?;
    if !try_password(desk, &account.user_name, current, Some(&found)).await? {
        return Err(Error::Refused(Reason::WrongPassword));
    }
    let hash = desk.passwords.hash(&new).await?;
    let (version, hash) = (found.password_version, &hash);
    desk.db
        .run_tx("identity.change_password", async |mut tx| {
            if !accounts::set_password(&mut tx, user, version, hash).await? {
                // it was changed since it was verified
                return Err(Error::Refused(Reason::WrongPassword));
            }
            sessions::end_others(&mut tx, user, session, Ended::PasswordChanged).await?;
            Ok((tx, ()))
        })
        .await
}
