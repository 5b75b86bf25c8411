use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use palinode_auth::{Grant, Signer};
use palinode_db::{Db, Tx};
use palinode_values::{Clock, Timestamp};

use crate::app::{Error, Failed};
use crate::domain::{Stored, due};
use crate::store::keys;

/// The keys as they were read last. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Ring(Arc<RwLock<Vec<(Timestamp, Signer)>>>);

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    /// Draws the next key if it is time, lets go of those that are over, and reads what is left.
    ///
    /// # Errors
    /// The database's; the keys stay as they were.
    pub(crate) async fn turn(&self, db: &Db) -> Result<(), Error> {
        let stored = db.run_tx("identity.turn_keys", turn).await?;
        let read = |key: &Stored| Ok((key.signs_from, Signer::read(&key.pkcs8)?));
        let signers = stored.iter().map(read).collect::<Result<_, Error>>()?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = signers;
        Ok(())
    }

    /// A token, signed with the key whose time it is.
    ///
    /// # Errors
    /// `NoKey`: none was read yet.
    pub(crate) fn sign(&self, grant: &Grant, now: Timestamp) -> Result<String, Error> {
        let signers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let begun = signers.iter().rev().find(|(from, _)| *from <= now);
        // this machine's clock may be behind the database's, by which the first one has begun
        let (_, signer) = begun.or(signers.first()).ok_or(Error::NoKey)?;
        Ok(signer.sign(grant, now)?)
    }

    /// The public halves as a JWK set.
    pub(crate) fn publish(&self) -> String {
        let signers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Signer::publish(signers.iter().map(|(_, signer)| signer))
    }
}

async fn turn(mut tx: Tx) -> Result<(Tx, Vec<Stored>), Error> {
    // of many who start at once, one draws
    keys::lock(&mut tx).await?;
    keys::purge(&mut tx).await?;
    let stored = keys::all(&mut tx).await?;
    let newest = stored.last().map(|key| key.signs_from);
    let Some(signs_from) = due(newest, tx.now()) else {
        return Ok((tx, stored));
    };
    let pkcs8 = Signer::draw()?;
    let id = Signer::read(&pkcs8)?.id().to_owned();
    keys::insert(&mut tx, &id, &pkcs8, signs_from).await?;
    tracing::info!(key = id, %signs_from, "a signing key was drawn");
    let stored = keys::all(&mut tx).await?;
    Ok((tx, stored))
}

/// Makes tokens without a sign-in: for tools that hold identity's database.
#[derive(Debug, Clone)]
pub struct Mint(Ring);

impl Mint {
    /// Reads the keys; draws the first if there is none.
    ///
    /// # Errors
    /// The database's.
    pub async fn open(db: &Db) -> Result<Self, Failed> {
        let ring = Ring::default();
        ring.turn(db).await?;
        Ok(Self(ring))
    }

    /// A token, good from now on. Nobody asks whether its subject has an account.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn token(&self, grant: &Grant) -> Result<String, Failed> {
        Ok(self.0.sign(grant, Clock::system().now())?)
    }

    /// The keys that verify these tokens, as JSON (RFC 7517).
    #[must_use]
    pub fn keys(&self) -> String {
        self.0.publish()
    }
}
