//! PostgreSQL: pools, named transactions, migrations.
//!
//! Purpose: the one way to a database. Every write goes through [`Db::run_tx`], which names the
//! transaction, tries it again after a serialization failure or a deadlock, and says in one type
//! what a failure means.
//! Not here: statements. They stand in the `store` of the service, or the platform crate, whose
//! tables they touch.

mod error;
mod migrate;
mod own;
mod partition;
mod pool;
mod purge;
mod transaction;

pub use error::Error;
pub use migrate::{Area, MigrateError, migrate, require_current_schema};
pub use own::Own;
pub use partition::{Partitions, keep_partitions};
pub use pool::{AsDbError, Db, Options};
pub use purge::purge;
pub use transaction::{BEGIN, Tx};

/// A connection, to be handed on to a `store`: what it can do is nobody else's business.
pub use sqlx::PgConnection as Connection;
