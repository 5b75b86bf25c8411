use std::fmt;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;

use crate::app::Error;
use crate::config;
use crate::domain::{Password, Reason};

/// Hashes and verifies passwords, a few at a time. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Passwords(Arc<Inner>);

struct Inner {
    params: Params,
    /// The hash of a password that nobody has: an unknown name takes as long as a wrong password.
    nobody: String,
    /// Whoever has none is sent away.
    places: Arc<Semaphore>,
    /// Whoever has one is reckoned.
    turns: Arc<Semaphore>,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Passwords {
    /// # Errors
    /// `Hash`: Argon2 does not take these parameters.
    pub(crate) fn new(config: &config::Passwords) -> Result<Self, Error> {
        let config::Passwords {
            memory_kib,
            passes,
            lanes,
            at_once,
            waiting_max,
        } = *config;
        let params = Params::new(memory_kib, passes, lanes, None)
            .map_err(|error| Error::Hash(error.into()))?;
        let nobody = hash(&params, "nobody has this one")?;
        Ok(Self(Arc::new(Inner {
            params,
            nobody,
            places: Arc::new(Semaphore::new(at_once + waiting_max)),
            turns: Arc::new(Semaphore::new(at_once)),
        })))
    }

    /// A PHC string of a password, under a salt of its own.
    ///
    /// # Errors
    /// `TOO_MANY_SIGN_INS`.
    pub(crate) async fn hash(&self, password: &Password) -> Result<String, Error> {
        let password = password.clone();
        self.run(move |inner| hash(&inner.params, &password.0))
            .await
    }

    /// Whether a hash is that of this password. `None`, the hash of nobody, takes as long and is not.
    ///
    /// # Errors
    /// `TOO_MANY_SIGN_INS`; `Hash`: the hash cannot be read.
    pub(crate) async fn verify(
        &self,
        password: &Password,
        hash: Option<&str>,
    ) -> Result<bool, Error> {
        let (password, hash) = (password.clone(), hash.map(str::to_owned));
        self.run(move |inner| match hash {
            Some(hash) => verify(&password.0, &hash),
            None => verify(&password.0, &inner.nobody).map(|_nobody| false),
        })
        .await
    }

    /// Whether a hash was made with other parameters than those of today.
    pub(crate) fn is_outdated(&self, hash: &str) -> bool {
        let hash = PasswordHash::new(hash).ok();
        let params = hash.and_then(|hash| Params::try_from(&hash).ok());
        let today = &self.0.params;
        params.is_none_or(|of| {
            (of.m_cost(), of.t_cost(), of.p_cost())
                != (today.m_cost(), today.t_cost(), today.p_cost())
        })
    }

    /// Runs `work` beside the runtime when it is its turn, also if the caller has gone away by then.
    async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let place = Arc::clone(&inner.places)
            .try_acquire_owned()
            .map_err(|_full| Error::Refused(Reason::TooManySignIns))?;
        let turn = Arc::clone(&inner.turns)
            .acquire_owned()
            .await
            .expect("nobody closes it");
        let working = tokio::task::spawn_blocking(move || {
            let done = work(&inner);
            drop((turn, place));
            done
        });
        working
            .await
            .map_err(|_panic| Error::Hash(argon2::password_hash::Error::Internal))?
    }
}

fn argon2(params: &Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
}

fn hash(params: &Params, password: &str) -> Result<String, Error> {
    let hash = argon2(params).hash_password(password.as_bytes());
    Ok(hash.map_err(Error::Hash)?.to_string())
}

fn verify(password: &str, hash: &str) -> Result<bool, Error> {
    // the parameters are those of the hash
    let hash = PasswordHash::new(hash).map_err(|error| Error::Hash(error.into()))?;
    match Argon2::default().verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(Error::Hash(error)),
    }
}
