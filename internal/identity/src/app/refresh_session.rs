use palinode_db::Tx;

use super::sign_in::{SignedIn, signed_in};
use crate::app::{Desk, Error};
use crate::domain::{Account, Ended, Reason, Refresh, Session, Token, refresh};
use crate::store::{accounts, sessions};

/// What became of a refresh token; committed, whatever it is.
enum Outcome {
    Tokens(Box<(Session, Account)>),
    Refused(Reason),
}

/// Exchanges a refresh token for new tokens, with the roles that the account has now.
///
/// # Errors
/// `REFRESH_TOKEN_INVALID`: it is none, or its session is over. `REFRESH_TOKEN_REUSED`: its session is
/// over from now on.
pub(crate) async fn refresh_session(desk: &Desk, token: &str) -> Result<SignedIn, Error> {
    let token = Token::read(token).ok_or(Error::Refused(Reason::RefreshTokenInvalid))?;
    let outcome = desk
        .db
        .run_tx("identity.refresh", |tx| exchange(tx, token))
        .await?;
    match outcome {
        Outcome::Tokens(tokens) => {
            let (session, account) = *tokens;
            signed_in(desk, &session, account)
        }
        Outcome::Refused(reason) => {
            if reason == Reason::RefreshTokenReused {
                let (session, generation) = (token.session(), token.generation());
                tracing::warn!(%session, generation, "a refresh token was used again: its session has ended");
            }
            Err(Error::Refused(reason))
        }
    }
}

async fn exchange(mut tx: Tx, token: Token) -> Result<(Tx, Outcome), Error> {
    // of many with one token, the others wait here and are answered as a repeat
    let found = sessions::lock(&mut tx, token.session()).await?;
    let Some(session) = found.filter(|session| token.is_of(session)) else {
        return Ok((tx, Outcome::Refused(Reason::RefreshTokenInvalid)));
    };
    let session = match refresh(&session, token.generation(), tx.now()) {
        Refresh::Rotate => sessions::rotate(&mut tx, &session).await?,
        Refresh::Repeat => session,
        Refresh::Reused => {
            sessions::end(&mut tx, session.id, Ended::Reused).await?;
            return Ok((tx, Outcome::Refused(Reason::RefreshTokenReused)));
        }
        Refresh::Over => return Ok((tx, Outcome::Refused(Reason::RefreshTokenInvalid))),
    };
    let account = accounts::find(tx.conn(), &session.account).await?;
    let outcome = match account {
        Some(found) => Outcome::Tokens(Box::new((session, found.account))),
        None => Outcome::Refused(Reason::RefreshTokenInvalid),
    };
    Ok((tx, outcome))
}
