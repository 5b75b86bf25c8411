use palinode_db::{Error, Tx};
use palinode_values::SagaId;

use crate::reply;

/// Writes the guard row of an opening step, in the transaction that starts the saga: the step is
/// done, so that its compensation finds something to take back, and a probe hears so.
///
/// # Errors
/// Those of the database.
pub async fn opened(tx: &mut Tx, saga: SagaId, step: &str) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO saga_guard (saga_id, step, act, act_result, comp)
         VALUES ($1, $2, 'done', $3, 'none')",
        saga.0,
        step,
        &reply::done(None)[..],
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
