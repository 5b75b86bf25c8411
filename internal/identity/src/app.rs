mod change_password;
mod delete_user;
mod error;
mod first_admin;
mod keys;
mod passwords;
mod refresh_session;
mod register_user;
mod seed;
mod set_roles;
mod sign_in;
mod try_password;
mod upkeep;

use palinode_db::Db;
use palinode_outbox::Doorbell;
use palinode_values::Clock;

pub(crate) use change_password::change_password;
pub(crate) use delete_user::delete_user;
pub(crate) use error::Error;
pub use error::Failed;
pub(crate) use first_admin::first_admin;
pub use keys::Mint;
pub(crate) use keys::Ring;
pub(crate) use passwords::Passwords;
pub(crate) use refresh_session::refresh_session;
pub(crate) use register_user::{Asked, Key, Registered, register_user};
pub use seed::{Seed, seed};
pub(crate) use set_roles::set_roles;
pub(crate) use sign_in::{SignedIn, sign_in, sign_out};
pub(crate) use upkeep::Upkeep;

/// The outbox's word for this service.
const SERVICE: &str = "identity";

/// What use cases work with. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) doorbell: Doorbell,
    pub(crate) passwords: Passwords,
    pub(crate) ring: Ring,
}
