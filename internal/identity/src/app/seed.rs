use std::fmt;

use palinode_auth::Role;
use palinode_db::Db;
use palinode_values::UserId;

use super::register_user::insert;
use crate::app::{Error, Failed, Passwords};
use crate::config;
use crate::domain::{Password, Registration};
use crate::store::accounts;

/// An account for demonstrations, whose password everybody knows.
#[derive(Clone)]
pub struct Seed {
    /// The user's id.
    pub id: UserId,
    /// Lower case.
    pub user_name: String,
    /// E-mail address.
    pub email: String,
    /// In clear.
    pub password: String,
    /// Beside customer.
    pub roles: Vec<Role>,
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seed")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Writes accounts, once: repeated, it changes nothing. Nobody is told of them.
///
/// # Errors
/// A name or an address is taken; or the database's. Accounts before the one that failed are kept.
pub async fn seed(db: &Db, seeds: &[Seed]) -> Result<(), Failed> {
    let passwords = Passwords::new(&config::Passwords::default())?;
    for seed in seeds {
        let known = accounts::find(db.pool(), &seed.id).await;
        if known.map_err(Error::from)?.is_none() {
            write(db, &passwords, seed).await?;
        }
    }
    Ok(())
}

async fn write(db: &Db, passwords: &Passwords, seed: &Seed) -> Result<(), Error> {
    let registration = Registration {
        email: seed.email.clone(),
        user_name: seed.user_name.clone(),
        password: Password(seed.password.clone()),
        first_name: String::new(),
        last_name: String::new(),
    };
    let hash = passwords.hash(&registration.password).await?;
    let mut roles = seed.roles.clone();
    roles.push(Role::Customer);
    roles.sort_unstable();
    roles.dedup();
    let (registration, hash, roles) = (&registration, &hash, &roles);
    db.run_tx("identity.seed", async |mut tx| {
        insert(&mut tx, &seed.id, registration, hash, roles).await?;
        Ok((tx, ()))
    })
    .await
}
