//! The transactional outbox: messages appended in the caller's transaction.
//!
//! Purpose: what a transaction has to say is committed with it, or not at all; the relay publishes
//! it afterwards, in order for each key.
//! Owns: the tables `outbox` and `outbox_topic`.
//! Invariant: for one key, ids are drawn while the row of the key is held, so that a smaller id is
//! visible whenever a greater one is. [`Held`] is the evidence for that.
//! Not here: publishing (relay), and what a record says (the services).
//!
//! ```no_run
//! use palinode_db::Db;
//! use palinode_messaging::Record;
//! use palinode_outbox::{Doorbell, Error, Held, append};
//!
//! # async fn place(db: &Db, doorbell: &Doorbell, record: Record) -> Result<(), Error> {
//! db.run_tx("order.place", |mut tx| {
//!     let record = record.clone();
//!     async move {
//!         // after `INSERT INTO orders … RETURNING id` on `tx`
//!         let held = Held::by_insert(&tx, [record.key.clone()]);
//!         append(&mut tx, &held, &[record], "order").await?;
//!         Ok::<_, Error>((tx, ()))
//!     }
//! })
//! .await?;
//! doorbell.ring();
//! # Ok(())
//! # }
//! ```
#![warn(clippy::missing_errors_doc)]

mod append;
mod doorbell;
mod error;
mod held;
mod shape;
mod topics;

pub use append::{MESSAGE_BYTES_MAX, RECORDS_MAX, Rows, append};
pub use doorbell::Doorbell;
pub use error::Error;
pub use held::Held;
pub use shape::{Shape, shape, to_log, to_queue};
pub use topics::{TopicRow, fill_topics, require_topics, topics};
