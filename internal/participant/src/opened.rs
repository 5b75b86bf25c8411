use palinode_db::{Error, Tx};
use palinode_values::SagaId;

/// Writes the guard row of an opening step, in the transaction that starts the saga: the step is
/// done, so that its compensation finds something to take back.
///
/// # Errors
/// Those of the database.
pub async fn opened(tx: &mut Tx, saga: SagaId, step: &str) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO saga_guard (saga_id, step, act, comp) VALUES ($1, $2, 'done', 'none')",
        saga.0,
        step
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
