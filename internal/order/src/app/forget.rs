use std::time::Duration;

use palinode_db::{Db, Error};
use tokio_util::sync::CancellationToken;

use crate::store::{cart, deleted_user, quote};

/// How often it is asked whether somebody is to be forgotten.
const EVERY: Duration = Duration::from_secs(1);
/// Orders of one transaction at the most.
const ORDERS_MAX: i64 = 500;
/// Quotes of one transaction at the most.
const QUOTES_MAX: i64 = 500;
/// A token outlives its user, by 15 minutes as identity makes them: until then orders may come.
const TOKENS_LIVE: Duration = Duration::from_secs(3_600);
/// An order that is under way at the last look is looked at again after that, at the latest.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// Takes what identifies users who were deleted out of their orders, once these are over; and takes away
/// their carts and quotes.
///
/// A look at the table, and not a clause of the statement that decides orders: a deletion and a decision
/// that are made at the same moment do not see each other, and only a later look finds what both have
/// left. It also costs no order anything.
#[derive(Debug, Clone)]
pub(crate) struct Forgetting {
    pub(crate) db: Db,
}

impl Forgetting {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let rounds = self.steps(ORDERS_MAX);
            tokio::select! {
                () = stop.cancelled() => return,
                done = rounds => if let Err(error) = done {
                    tracing::warn!(%error, "users who were deleted could not be forgotten");
                }
            }
        }
    }

    /// Goes on until nobody is due; returns how many orders name nobody any more.
    pub(crate) async fn steps(&self, orders_max: i64) -> Result<i64, Error> {
        let mut anonymised = 0;
        while let Some(some) = self.step(orders_max).await? {
            anonymised += some;
        }
        Ok(anonymised)
    }

    /// One transaction: at most `orders_max` orders of one user. `None`: nobody is due.
    pub(crate) async fn step(&self, orders_max: i64) -> Result<Option<i64>, Error> {
        self.db
            .run_tx("order.forget", async |mut tx| {
                let Some(due) = deleted_user::lock_due(&mut tx).await? else {
                    return Ok((tx, None));
                };
                let page = deleted_user::anonymise(&mut tx, &due, orders_max).await?;
                let user = &due.user_id;
                cart::delete(&mut tx, user).await?;
                let quotes = quote::delete_of(&mut tx, user, QUOTES_MAX).await?;
                if page.seen < orders_max && quotes < QUOTES_MAX.unsigned_abs() {
                    deleted_user::look_again(&mut tx, user, &page, TOKENS_LIVE, PAUSE_MAX).await?;
                } else {
                    deleted_user::go_on(&mut tx, user, &page).await?;
                }
                Ok((tx, Some(page.anonymised)))
            })
            .await
    }
}
