use std::collections::{BTreeMap, HashMap};

use palinode_db::{Error, Tx};
use palinode_participant::{Decided, Outcome};
use palinode_values::OrderId;

use crate::convert;
use crate::domain::{Decision, Status};
use crate::store;
use crate::store::order::Standing;

/// Carries out what sagas decided, in arrival order; one outcome for each.
///
/// Most orders are pending: those that are decided here for the first time are written without
/// being read before. Only the others are locked and looked at.
///
/// # Errors
/// Those of the database.
pub(crate) async fn decide(
    tx: &mut Tx,
    decisions: &[(OrderId, &Decision)],
) -> Result<Vec<Decided>, Error> {
    // the first decision about each order, if one about a pending order can be that
    let mut firsts: BTreeMap<OrderId, Option<Status>> = BTreeMap::new();
    for (id, decision) in decisions {
        let first = || Status::Pending.next(decision).ok();
        firsts.entry(*id).or_insert_with(first);
    }
    let pending = firsts
        .iter()
        .filter_map(|(id, status)| Some((*id, status.clone()?)))
        .collect();
    let users = store::order::decide_pending(tx, &pending).await?;
    let mut orders: HashMap<OrderId, Standing> = pending
        .into_iter()
        .filter_map(|(id, status)| {
            let user = users.get(&id)?.clone();
            Some((id, Standing { id, user, status }))
        })
        .collect();
    let others: Vec<OrderId> = firsts
        .into_keys()
        .filter(|id| !orders.contains_key(id))
        .collect();
    let others = store::order::lock(tx, &others).await?;
    orders.extend(others.into_iter().map(|standing| (standing.id, standing)));

    let mut changed = Vec::new();
    let mut cancellations = Vec::new();
    let mut decided = Vec::with_capacity(decisions.len());
    for (id, decision) in decisions {
        let Some(standing) = orders.get_mut(id) else {
            // the guard row of the opening step is written with the order
            return Err(Error::inconsistent(
                "orders",
                "id",
                id,
                "a decided order is missing",
            ));
        };
        let outcome = match standing.status.clone().next(decision) {
            Ok(next) if next == standing.status => carried_out(decision),
            Ok(next) => {
                let was = std::mem::replace(&mut standing.status, next);
                changed.push((was.word(), standing.clone()));
                cancellations.extend(decided_cancellation(decision));
                carried_out(decision)
            }
            Err(error) => match decision {
                Decision::Confirm(_) | Decision::Close { .. } => Outcome::Transient {
                    detail: error.to_string(),
                },
                Decision::Reject { .. } | Decision::Keep { .. } => Outcome::CannotUndo {
                    reason: "ORDER_CONFIRMED".to_owned(),
                    detail: error.to_string(),
                },
            },
        };
        let events = match &outcome {
            Outcome::Done { .. } | Outcome::Undone => {
                vec![convert::decided_event(standing, decision)]
            }
            _ => Vec::new(),
        };
        decided.push(Decided { outcome, events });
    }
    store::order::save_decisions(tx, &changed).await?;
    store::cancellation::save_decisions(tx, &cancellations).await?;
    Ok(decided)
}

pub(crate) fn carried_out(decision: &Decision) -> Outcome {
    match decision {
        Decision::Confirm(_) | Decision::Close { .. } => Outcome::Done { output: None },
        Decision::Reject { .. } | Decision::Keep { .. } => Outcome::Undone,
    }
}

fn decided_cancellation(decision: &Decision) -> Option<store::cancellation::Decided> {
    match decision {
        Decision::Confirm(_) | Decision::Reject { .. } => None,
        Decision::Keep {
            cancellation,
            reason,
            detail,
        } => Some(store::cancellation::Decided {
            id: *cancellation,
            refused: Some((reason.clone(), detail.clone())),
        }),
        Decision::Close { cancellation } => Some(store::cancellation::Decided {
            id: *cancellation,
            refused: None,
        }),
    }
}
