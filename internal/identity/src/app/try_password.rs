use palinode_db::Tx;
use sha2::{Digest, Sha256};

use crate::app::{Desk, Error};
use crate::domain::{Password, Verified, pause};
use crate::store::failures::{self, Login};

/// Whether a password is the account's, unless there were too many wrong ones for `login`. It is counted
/// if it is wrong; the right one clears the count. `None`, nobody's account, has no password.
///
/// `login` is what was typed, not the account: a refusal must not tell that a name and an address are
/// those of one account, or that there is one at all.
///
/// # Errors
/// `Throttled`; `TOO_MANY_SIGN_INS`.
pub(crate) async fn try_password(
    desk: &Desk,
    login: &str,
    password: &Password,
    of: Option<&Verified>,
) -> Result<bool, Error> {
    // as accounts are found: another spelling is not another count
    let login: Login = Sha256::digest(failures::fold(&desk.db, login).await?).into();
    if let Some(pause) = failures::refused_for(&desk.db, &login).await? {
        return Err(Error::Throttled(pause));
    }
    let hash = of.map(|of| of.password_hash.as_str());
    let is_right = desk.passwords.verify(password, hash).await?;
    desk.db
        .run_tx("identity.try_password", |tx| judge(tx, &login, is_right))
        .await?;
    Ok(is_right)
}

async fn judge(mut tx: Tx, login: &Login, is_right: bool) -> Result<(Tx, ()), Error> {
    if !is_right && let Some(failures) = failures::count(&mut tx, login).await? {
        if let Some(pause) = pause(failures) {
            failures::refuse(&mut tx, login, pause).await?;
        }
        return Ok((tx, ()));
    }
    // others may have failed while this one was verified: then it is told no more than they are
    if let Some(pause) = failures::lock(&mut tx, login).await? {
        return Err(Error::Throttled(pause));
    }
    if is_right {
        failures::clear(&mut tx, login).await?;
    }
    Ok((tx, ()))
}
