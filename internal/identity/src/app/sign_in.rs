use std::fmt;

use palinode_auth::Grant;
use palinode_db::Tx;
use palinode_values::SessionId;

use super::try_password::try_password;
use crate::app::{Desk, Error};
use crate::config::ACCESS_LIFETIME;
use crate::domain::{Account, Ended, Password, Reason, Session, Token, Verified};
use crate::store::{accounts, sessions};

/// What somebody gets who has signed in.
pub(crate) struct SignedIn {
    pub(crate) session: SessionId,
    pub(crate) account: Account,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// Opens a session, by user name or e-mail address. No user name has an `@`.
///
/// # Errors
/// `WRONG_CREDENTIALS`: nobody has both. `Throttled`; `TOO_MANY_SIGN_INS`.
pub(crate) async fn sign_in(
    desk: &Desk,
    login: &str,
    password: &Password,
) -> Result<SignedIn, Error> {
    let found = if login.contains('@') {
        accounts::find_by_email(desk.db.pool(), login).await?
    } else {
        accounts::find_by_name(&desk.db, login).await?
    };
    let is_right = try_password(desk, login, password, found.as_ref()).await?;
    let found = found.filter(|_| is_right);
    let found = found.ok_or(Error::Refused(Reason::WrongCredentials))?;
    let rehashed = if desk.passwords.is_outdated(&found.password_hash) {
        Some(desk.passwords.hash(password).await?)
    } else {
        None
    };
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_unspecified| Error::NoRandomness)?;
    let id = SessionId::new(&desk.clock);
    let (session, account) = desk
        .db
        .run_tx("identity.sign_in", |tx| {
            open(tx, &found, rehashed.as_deref(), id, &secret)
        })
        .await?;
    signed_in(desk, &session, account)
}

async fn open(
    mut tx: Tx,
    found: &Verified,
    rehashed: Option<&str>,
    id: SessionId,
    secret: &[u8; 32],
) -> Result<(Tx, (Session, Account)), Error> {
    let now = accounts::lock(&mut tx, &found.account.id).await?;
    // it may be gone, or have another password since that was verified
    let now = now.filter(|now| now.password_version == found.password_version);
    let now = now.ok_or(Error::Refused(Reason::WrongCredentials))?;
    if let Some(hash) = rehashed {
        accounts::rehash(&mut tx, &now.account.id, now.password_version, hash).await?;
    }
    let session = sessions::insert(&mut tx, id, &now.account.id, secret).await?;
    Ok((tx, (session, now.account)))
}

/// The tokens of a session, with the roles that the account has now.
pub(super) fn signed_in(
    desk: &Desk,
    session: &Session,
    account: Account,
) -> Result<SignedIn, Error> {
    let grant = Grant {
        subject: account.id.clone(),
        roles: account.roles.clone(),
        session: Some(session.id.0),
        lifetime: ACCESS_LIFETIME,
    };
    Ok(SignedIn {
        session: session.id,
        account,
        access_token: desk.ring.sign(&grant, desk.clock.now())?,
        refresh_token: Token::of(session).text(),
    })
}

/// Ends a session. Again, it changes nothing.
///
/// # Errors
/// The database's.
pub(crate) async fn sign_out(desk: &Desk, session: SessionId) -> Result<(), Error> {
    desk.db
        .run_tx("identity.sign_out", async |mut tx| {
            sessions::end(&mut tx, session, Ended::SignedOut).await?;
            Ok((tx, ()))
        })
        .await
}
