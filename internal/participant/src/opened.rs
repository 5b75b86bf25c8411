use palinode_db::{Error, Tx};
use palinode_values::SagaId;
use uuid::Uuid;

use crate::reply;

/// Writes the guard rows of an opening step, in the transaction that starts the sagas: the step is
/// done, so that its compensation finds something to take back, and a probe hears so.
///
/// # Errors
/// Those of the database.
pub async fn opened(tx: &mut Tx, sagas: &[SagaId], step: &str) -> Result<(), Error> {
    let sagas: Vec<Uuid> = sagas.iter().map(|saga| saga.0).collect();
    sqlx::query_file!("src/sql/opened.sql", &sagas, step, &reply::done(None)[..])
        .execute(tx.conn())
        .await?;
    Ok(())
}
