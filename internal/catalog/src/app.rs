//! Use cases.

mod create_product;
mod delete_product;
mod error;
mod seed;
mod update_product;

use palinode_db::{Db, Tx};
use palinode_messaging::Record;
use palinode_outbox::{Doorbell, Held, append};
use palinode_values::Clock;

pub(crate) use create_product::{Asked, Created, Key, create_product};
pub(crate) use delete_product::delete_product;
pub(crate) use error::Error;
pub use error::Failed;
pub use seed::{Seed, SeedCategory, product_id_of, seed};
pub(crate) use update_product::{Wanted, update_product};

/// The outbox's word for this service.
const SERVICE: &str = "catalog";

/// What use cases work with. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) doorbell: Doorbell,
}

/// Appends the event of a product whose row this transaction holds.
async fn announce(tx: &mut Tx, held: &Held, record: Record) -> Result<(), Error> {
    append(tx, held, &[record], SERVICE).await?;
    Ok(())
}
