//! Use cases.

use std::collections::BTreeSet;

use palinode_db::{Error as DbError, Tx};
use palinode_participant::{Decided, Outcome, Task};
use palinode_saga::Direction;
use palinode_values::{Clock, Coded, ErrorCode, OrderId, ShipmentId, Timestamp};

use crate::domain::{self, Arrange, Asked, Country, Reason, Refusal, Verdict};
use crate::{convert, store};

/// Why a use case did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A rule said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.reason.code(),
            Self::Db(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Refused(refusal) => refusal.reason.as_str(),
            Self::Db(error) => error.reason(),
        }
    }
}

/// Books carriers for a batch of orders.
///
/// Shape: as `palinode_participant::Handler::handle` has it.
pub(crate) async fn arrange_shipping(
    mut tx: Tx,
    tasks: &[Task<Arrange>],
    now: Timestamp,
    clock: &Clock,
) -> Result<(Tx, Vec<Decided>), DbError> {
    let forward: Vec<Asked<'_>> = tasks
        .iter()
        .filter(|task| task.direction == Direction::Forward)
        .map(|task| Asked {
            saga: task.saga.saga_id,
            new: ShipmentId::new(clock),
            arrange: &task.command,
        })
        .collect();
    let verdicts = if forward.is_empty() {
        Vec::new()
    } else {
        let countries: BTreeSet<Country> = forward
            .iter()
            .map(|asked| asked.arrange.address.country.clone())
            .collect();
        let orders: Vec<OrderId> = forward.iter().map(|asked| asked.arrange.order).collect();
        let countries: Vec<Country> = countries.into_iter().collect();
        let carriers = store::carriers(&mut tx, &countries).await?;
        let existing = store::of_orders(&mut tx, &orders).await?;
        domain::decide(&carriers, existing, &forward, now)
    };
    let made = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Arranged(shipment) => Some(shipment),
        Verdict::Already(_) | Verdict::Refused(_) => None,
    });
    store::insert(&mut tx, &made.collect::<Vec<_>>()).await?;
    let mut verdicts = verdicts.into_iter();
    let decided = tasks
        .iter()
        .map(|task| match task.direction {
            Direction::Forward => verdicts.next().map_or_else(never, decided),
            Direction::Backward => never(),
        })
        .collect();
    Ok((tx, decided))
}

fn decided(verdict: Verdict) -> Decided {
    match verdict {
        Verdict::Arranged(shipment) => Decided {
            outcome: Outcome::Done {
                output: Some(convert::output(shipment.id)),
            },
            events: vec![convert::shipment_arranged(&shipment)],
        },
        Verdict::Already(id) => Decided::quietly(Outcome::Done {
            output: Some(convert::output(id)),
        }),
        Verdict::Refused(Refusal { reason, detail }) => {
            let reason = reason.as_str().to_owned();
            Decided::quietly(Outcome::Failed { reason, detail })
        }
    }
}

/// A plan asks for what no plan should: the step has no compensation.
fn never() -> Decided {
    Decided::quietly(Outcome::CannotUndo {
        reason: Reason::NotCompensatable.as_str().to_owned(),
        detail: "a shipment that is arranged is not taken back by its saga".to_owned(),
    })
}
