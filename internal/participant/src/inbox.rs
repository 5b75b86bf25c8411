use std::future::Future;

use bytes::Bytes;
use palinode_db::{Db, Tx};
use palinode_messaging::{BatchHandler, Committed, Failure, Received};

use crate::error::Error;
use crate::handler::Undecodable;
use crate::store;

/// What a service does about the events of another.
pub trait EventHandler: Send + Sync + 'static {
    /// Every event that it does something about, decoded.
    type Event: Send + Sync;

    /// Reads an event; `None`: it is no concern of this service, as a kind that was not known when it
    /// was built. `kind` is the full name of the message.
    ///
    /// # Errors
    /// The body is no such message: the record is parked.
    fn decode(&self, kind: &str, body: &Bytes) -> Result<Option<Self::Event>, Undecodable>;

    /// Does what follows from `events` in `tx`.
    ///
    /// Shape: 1 to 500 events in arrival order. Events have no guard row: whatever the broker repeats or
    /// brings out of order has to end in the same rows. Rows are locked in key order.
    ///
    /// # Errors
    /// The batch is rolled back, then tried again or, if that cannot help, divided.
    fn handle(
        &self,
        tx: Tx,
        events: &[Self::Event],
    ) -> impl Future<Output = Result<Tx, palinode_db::Error>> + Send;
}

/// Takes events of others: a batch is one transaction, and what cannot be read is parked in it.
#[derive(Debug)]
pub struct Inbox<H> {
    db: Db,
    handler: H,
}

/// A batch, read.
struct Batch<'a, E> {
    events: Vec<E>,
    parked: Vec<(&'a Received, String)>,
}

impl<H: EventHandler> Inbox<H> {
    /// An inbox whose tables are in `db`.
    pub fn new(db: Db, handler: H) -> Self {
        Self { db, handler }
    }

    fn read<'a>(&self, batch: &'a [Received]) -> Batch<'a, H::Event> {
        let (mut events, mut parked) = (Vec::new(), Vec::new());
        for record in batch {
            let kind = record.kind().map_err(|error| error.to_string());
            let read = kind.and_then(|kind| {
                let event = self.handler.decode(kind, &record.body);
                event.map_err(|error| error.to_string())
            });
            match read {
                Ok(event) => events.extend(event),
                Err(error) => {
                    tracing::warn!(
                        topic = &*record.topic,
                        partition = record.partition,
                        offset = record.offset,
                        error,
                        "an event is parked"
                    );
                    parked.push((record, error));
                }
            }
        }
        Batch { events, parked }
    }

    async fn run(&self, mut tx: Tx, batch: &Batch<'_, H::Event>) -> Result<(Tx, ()), Error> {
        store::park(&mut tx, &batch.parked).await?;
        if !batch.events.is_empty() {
            tx = self.handler.handle(tx, &batch.events).await?;
        }
        Ok((tx, ()))
    }
}

impl<H: EventHandler> BatchHandler for Inbox<H> {
    async fn handle(&mut self, batch: &[Received]) -> Result<Committed, Failure> {
        let this = &*self;
        let batch = &this.read(batch);
        if !batch.events.is_empty() || !batch.parked.is_empty() {
            this.db
                .run_tx("inbox.batch", move |tx| this.run(tx, batch))
                .await?;
        }
        Ok(Committed)
    }

    async fn park(&mut self, record: &Received, error: &str) -> Result<Committed, Failure> {
        store::park_alone(&self.db, "inbox.park", record, error).await?;
        Ok(Committed)
    }
}
