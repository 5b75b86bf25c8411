use std::collections::BTreeSet;

use palinode_db::{Error, Tx};
use palinode_values::{Clock, Currency, UserId};

use crate::domain::{Transfer, UserEvent};
use crate::store::batch::{self, Work};
use crate::store::wallets;

/// Opens an empty wallet for who was registered, and closes that of who was deleted; what it holds goes
/// to the house.
///
/// A deletion counts whatever came before it or comes after: the closed wallet is there from then on, and
/// a registration opens none where there is one.
pub(crate) async fn follow_users(
    mut tx: Tx,
    clock: &Clock,
    events: &[UserEvent],
) -> Result<Tx, Error> {
    let mut all = BTreeSet::new();
    let mut deleted = BTreeSet::new();
    for event in events {
        match event {
            UserEvent::Registered(user) => all.insert(user),
            UserEvent::Deleted(user) => all.insert(user) | deleted.insert(user),
        };
    }
    let all: Vec<&UserId> = all.into_iter().collect();
    wallets::open(&mut tx, &all, Currency::EUR).await?;
    let deleted: Vec<&UserId> = deleted.into_iter().collect();
    if deleted.is_empty() {
        return Ok(tx);
    }
    let closing = wallets::lock_open(&mut tx, &deleted).await?;
    let held = || closing.iter().filter(|(_, balance)| balance.minor > 0);
    let transfers: Vec<Transfer> = held()
        .map(|(user, balance)| Transfer::closure(user.clone(), *balance))
        .collect();
    let work = Work {
        deltas: held()
            .map(|(user, balance)| (user, -balance.minor))
            .collect(),
        transfers: &transfers,
        ..Work::default()
    };
    batch::write(&mut tx, clock, &work).await?;
    let closing: Vec<&UserId> = closing.iter().map(|(user, _)| user).collect();
    wallets::close(&mut tx, &closing).await?;
    Ok(tx)
}
