use std::error::Error;
use std::future::Future;

use crate::envelope::Received;

/// What a batch is handed to.
///
/// A batch is one transaction: {dedupe, apply, outbox, parked rows}, committed before the handler
/// returns. The future may be dropped at any await (the partitions went to another member), which
/// must roll the transaction back.
pub trait BatchHandler: Send + 'static {
    /// Handles a batch in one transaction.
    ///
    /// Shape: 1 to `batch_max` records, in order within each partition; all partitions together.
    /// A record that cannot be decoded is parked in the same transaction and is no failure.
    fn handle(
        &mut self,
        batch: &[Received],
    ) -> impl Future<Output = Result<Committed, Failure>> + Send;

    /// Writes a record that failed three times alone into `consumer_parked`.
    fn park(
        &mut self,
        record: &Received,
        error: &str,
    ) -> impl Future<Output = Result<Committed, Failure>> + Send;
}

/// Says that the handler's transaction has committed: only then are offsets stored.
#[derive(Debug)]
pub struct Committed;

/// Why a batch was not handled; its transaction was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No record's fault: the database or another service is away. The same batch comes again,
    /// and nothing is counted.
    #[error("what the handler needs is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// A record of the batch cannot be handled, whichever it is: the batch is halved.
    #[error("the batch cannot be handled")]
    Batch(#[source] Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// No record's fault.
    pub fn unavailable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(error.into())
    }

    /// A record's fault.
    pub fn batch(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Batch(error.into())
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
