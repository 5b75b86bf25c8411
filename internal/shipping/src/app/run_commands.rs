use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use palinode_db::{Error, Tx};
use palinode_participant::{Decided, Outcome, Task};
use palinode_saga::Direction;
use palinode_values::{OrderId, ShipmentId, Timestamp};

use crate::domain::{Asked, Book, Carrier, Command, Country, Reason, Refusal, Verdict};
use crate::store::Known;
use crate::{convert, store};

/// The carriers as they were read last: what will most likely be quoted. One a country at the most.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<BTreeMap<Country, Carrier>>);

impl Seen {
    fn carrier(&self, country: &Country) -> Option<Carrier> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(country).cloned()
    }

    fn extend(&self, carriers: &BTreeMap<Country, Carrier>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (country, carrier) in carriers {
            if seen.get(country) != Some(carrier) {
                seen.insert(country.clone(), carrier.clone());
            }
        }
    }
}

/// What comes of a command if the carriers are those that were seen last.
pub(crate) fn expected(task: &Task<'_, Command>, seen: &Seen) -> Option<Outcome> {
    let output = match task.command {
        Command::Arrange(_) => Some(convert::arranged_output(ShipmentId(task.new_id))),
        Command::Recall { .. } => match task.direction {
            Direction::Forward => None,
            Direction::Backward => return Some(Outcome::Undone),
        },
        Command::Quote { country } => Some(convert::quoted_output(seen.carrier(country)?)),
    };
    Some(Outcome::Done { output })
}

/// Does a batch of commands: rows are read or locked once, decided upon in memory, written once.
///
/// Shape: as `palinode_participant::Handler::handle` has it.
pub(crate) async fn run_commands(
    mut tx: Tx,
    tasks: &[Task<'_, Command>],
    now: Timestamp,
    seen: &Seen,
) -> Result<(Tx, Vec<Decided>), Error> {
    let asked: Vec<Asked<'_>> = tasks
        .iter()
        .filter(|task| task.direction == Direction::Forward)
        .map(|task| Asked {
            saga: task.saga.saga_id,
            new: ShipmentId(task.new_id),
            command: task.command,
        })
        .collect();
    let mut book = open_book(&mut tx, &asked).await?;
    seen.extend(&book.carriers);
    let verdicts = book.decide(&asked, now);
    let (mut made, mut recalled) = (Vec::new(), Vec::new());
    for verdict in &verdicts {
        match verdict {
            Verdict::Arranged(shipment) => made.push(shipment.as_ref()),
            Verdict::Recalled(standing) => recalled.push(*standing),
            Verdict::AlreadyArranged(_)
            | Verdict::Quoted(_)
            | Verdict::AlreadyRecalled
            | Verdict::Refused(_) => {}
        }
    }
    store::insert(&mut tx, &made).await?;
    store::move_on(&mut tx, &recalled).await?;
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

/// Reads what the commands are about, and locks what they may move on.
async fn open_book(tx: &mut Tx, asked: &[Asked<'_>]) -> Result<Book, Error> {
    let mut countries: BTreeSet<&Country> = BTreeSet::new();
    let mut orders: BTreeSet<OrderId> = BTreeSet::new();
    let mut shipments: BTreeSet<ShipmentId> = BTreeSet::new();
    for asked in asked {
        match asked.command {
            Command::Arrange(arrange) => {
                countries.insert(&arrange.address.country);
                orders.insert(arrange.order);
            }
            Command::Quote { country } => {
                countries.insert(country);
            }
            Command::Recall { shipment, .. } => {
                shipments.insert(*shipment);
            }
        }
    }
    let standing = store::lock(tx, &shipments.into_iter().collect::<Vec<_>>()).await?;
    let countries: Vec<_> = countries.into_iter().collect();
    let orders: Vec<_> = orders.into_iter().collect();
    let Known { carriers, existing } = store::read(tx, &countries, &orders).await?;
    Ok(Book {
        carriers,
        existing,
        standing: standing.into_iter().map(|s| (s.id, s)).collect(),
    })
}

fn decided(verdict: Verdict) -> Decided {
    let done = |output| Outcome::Done { output };
    match verdict {
        Verdict::Arranged(shipment) => Decided {
            outcome: done(Some(convert::arranged_output(shipment.id))),
            events: vec![convert::shipment_arranged(&shipment)],
        },
        Verdict::AlreadyArranged(id) => Decided::quietly(done(Some(convert::arranged_output(id)))),
        Verdict::Quoted(carrier) => Decided::quietly(done(Some(convert::quoted_output(carrier)))),
        Verdict::Recalled(standing) => Decided {
            outcome: done(None),
            events: vec![convert::shipment_recalled(standing)],
        },
        Verdict::AlreadyRecalled => Decided::quietly(done(None)),
        Verdict::Refused(Refusal { reason, detail }) => {
            let reason = reason.as_str().to_owned();
            Decided::quietly(Outcome::Failed { reason, detail })
        }
    }
}

/// A plan asks for what no plan should: a quote needs no compensation, and the pivots have none.
fn never() -> Decided {
    Decided::quietly(Outcome::CannotUndo {
        reason: Reason::NotCompensatable.as_str().to_owned(),
        detail: "no step of shipping is taken back by its saga".to_owned(),
    })
}
