use std::slice;

use palinode_auth::Role;
use palinode_db::Tx;
use palinode_outbox::{Held, append};
use palinode_telemetry::TraceContext;
use palinode_values::UserId;

use super::SERVICE;
use super::try_password::try_password;
use crate::app::{Desk, Error};
use crate::convert;
use crate::domain::{Account, Reason, Registration};
use crate::store::accounts::{self, Inserted};
use crate::store::registrations::{self, Before};

/// The idempotency key of a registration.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) key: String,
    /// SHA-256 of what was asked for, without the password. A hash of passwords that can be reckoned as
    /// fast as this one would undo what Argon2 is for.
    pub(crate) fingerprint: [u8; 32],
}

/// A registration that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) registration: Registration,
    pub(crate) key: Option<Key>,
    pub(crate) trace: TraceContext,
}

/// Who is registered.
#[derive(Debug, Clone)]
pub(crate) enum Registered {
    /// By this call.
    New(Account),
    /// By an earlier one with the same key.
    Before(Account),
}

/// Registers a customer.
///
/// # Errors
/// `USER_NAME_TAKEN`, `EMAIL_TAKEN`; `IDEMPOTENCY_KEY_REUSED`: the key came with another registration;
/// `TOO_MANY_SIGN_INS`.
pub(crate) async fn register_user(desk: &Desk, asked: &Asked) -> Result<Registered, Error> {
    let Asked {
        registration, key, ..
    } = asked;
    if let Some(key) = key
        && let Some(before) = registrations::find(&desk.db, &key.key).await?
    {
        return repeated(desk, registration, key, &before).await;
    }
    let hash = desk.passwords.hash(&registration.password).await?;
    let id = UserId::new(&desk.clock);
    let written = desk
        .db
        .run_tx("identity.register", |tx| write(tx, desk, asked, &id, &hash))
        .await?;
    if let Some(account) = written {
        desk.doorbell.ring();
        return Ok(Registered::New(account));
    }
    // another call with the same key was faster
    let key = key.as_ref().ok_or(Error::Refused(Reason::KeyReused))?;
    match registrations::find(&desk.db, &key.key).await? {
        Some(before) => repeated(desk, registration, key, &before).await,
        None => Err(Error::Refused(Reason::UserNotFound)),
    }
}

/// `None`: the key is taken.
async fn write(
    mut tx: Tx,
    desk: &Desk,
    asked: &Asked,
    id: &UserId,
    hash: &str,
) -> Result<(Tx, Option<Account>), Error> {
    // the key before the account: of two calls with the same key, the second would be told that its own
    // name is taken
    if let Some(Key { key, fingerprint }) = &asked.key
        && !registrations::take_key(&mut tx, key, fingerprint, id).await?
    {
        return Ok((tx, None));
    }
    let account = insert(&mut tx, id, &asked.registration, hash, &[Role::Customer]).await?;
    announce(&mut tx, desk, id, &asked.trace).await?;
    Ok((tx, Some(account)))
}

/// Writes an account whose name and address nobody has.
pub(super) async fn insert(
    tx: &mut Tx,
    id: &UserId,
    registration: &Registration,
    hash: &str,
    roles: &[Role],
) -> Result<Account, Error> {
    match accounts::insert(tx, id, registration, hash, roles).await? {
        Inserted::Account(account) => Ok(*account),
        Inserted::UserNameTaken => Err(Error::Refused(Reason::UserNameTaken)),
        Inserted::EmailTaken => Err(Error::Refused(Reason::EmailTaken)),
    }
}

/// Appends `UserRegistered`.
pub(super) async fn announce(
    tx: &mut Tx,
    desk: &Desk,
    id: &UserId,
    trace: &TraceContext,
) -> Result<(), Error> {
    let record = convert::user_registered(id, &desk.clock, trace);
    let held = Held::by_insert(tx, [record.key.clone()]);
    append(tx, &held, slice::from_ref(&record), SERVICE).await?;
    Ok(())
}

/// The answer to a repeat. That the password is the same, only its hash can tell; so a repeat is an
/// attempt like a sign-in, and counted like one: with a key that can be guessed it would be a way to try
/// passwords. Once the password was changed, the first registration can no more be told from another.
async fn repeated(
    desk: &Desk,
    registration: &Registration,
    key: &Key,
    before: &Before,
) -> Result<Registered, Error> {
    if before.fingerprint != key.fingerprint {
        return Err(Error::Refused(Reason::KeyReused));
    }
    let found = accounts::find(desk.db.pool(), &before.account).await?;
    let found = found.ok_or(Error::Refused(Reason::UserNotFound))?;
    let (login, password) = (&found.account.user_name, &registration.password);
    if !try_password(desk, login, password, Some(&found)).await? {
        return Err(Error::Refused(Reason::KeyReused));
    }
    Ok(Registered::Before(found.account))
}
