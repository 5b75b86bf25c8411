#![expect(clippy::unwrap_used, reason = "a test ends where its helpers fail")]

use palinode_inventory::grant;
use palinode_values::Clock;

use crate::fixture::{Fixture, reservation_of, words};

impl Fixture {
    /// Lets the granter look; what it answers.
    pub(crate) async fn granted(&self, clock: &Clock) -> Vec<String> {
        grant(&self.db, clock).await.unwrap();
        words(&self.replies().await)
    }

    /// Everybody has waited as long as one may.
    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    async fn age(&self) {
        sqlx::query("UPDATE reservation_wait SET until = now()")
            .execute(self.db.pool())
            .await
            .unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    async fn waiting(&self) -> (i64, i64) {
        let queued: (i64,) = sqlx::query_as("SELECT count(*) FROM reservation_wait")
            .fetch_one(self.db.pool())
            .await
            .unwrap();
        let counted: (i64,) = sqlx::query_as("SELECT sum(waiting)::bigint FROM stock")
            .fetch_one(self.db.pool())
            .await
            .unwrap();
        (queued.0, counted.0)
    }
}

#[tokio::test]
async fn what_comes_free_goes_to_who_waits_in_the_order_of_arrival() {
    let fixture = Fixture::with(&[("mug", 2)]).await;
    let clock = Clock::system();
    let [first, second, third] = [fixture.order(), fixture.order(), fixture.order()];
    let said = fixture
        .deliver(&[
            first.reserve(&[("mug", 2)]),
            second.reserve(&[("mug", 2)]),
            third.reserve(&[("mug", 1)]),
        ])
        .await;
    assert_eq!(words(&said), ["done", "pending", "pending"]);
    assert_eq!(fixture.granted(&clock).await, [""; 0], "nothing is free");
    fixture.deliver(&[first.release()]).await;
    assert_eq!(fixture.granted(&clock).await, ["done"]);
    assert_eq!(fixture.row("mug").await, (2, 2, 0));
    // a repeat hears the same
    let again = fixture.deliver(&[second.reserve(&[("mug", 2)])]).await;
    assert_eq!(words(&again), ["done"]);
    assert_eq!(fixture.waiting().await, (1, 1));
    fixture.deliver(&[second.release()]).await;
    assert_eq!(fixture.granted(&clock).await, ["done"]);
    assert_eq!(fixture.row("mug").await, (2, 1, 0));
    assert_eq!(fixture.waiting().await, (0, 0));
    assert_eq!(fixture.broken().await, [""; 0]);
}

#[tokio::test]
async fn who_waits_is_refused_as_soon_as_the_pieces_are_sold() {
    let fixture = Fixture::with(&[("mug", 1)]).await;
    let [first, second] = [fixture.order(), fixture.order()];
    let said = fixture
        .deliver(&[first.reserve(&[("mug", 1)]), second.reserve(&[("mug", 1)])])
        .await;
    let reservation = reservation_of(&said[0]);
    fixture.deliver(&[first.commit(&reservation)]).await;
    assert_eq!(fixture.granted(&Clock::system()).await, ["OUT_OF_STOCK"]);
    assert_eq!(fixture.row("mug").await, (0, 0, 1));
    assert_eq!(fixture.waiting().await, (0, 0));
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let fixture = Fixture::with(&[("mug", 1)]).await;
    let [first, second] = [fixture.order(), fixture.order()];
    fixture
        .deliver(&[first.reserve(&[("mug", 1)]), second.reserve(&[("mug", 1)])])
        .await;
    let clock = Clock::system();
    assert_eq!(
        fixture.granted(&clock).await,
        [""; 0],
        "its time is not over"
    );
    fixture.age().await;
    assert_eq!(fixture.granted(&clock).await, ["OUT_OF_STOCK"]);
    assert_eq!(fixture.waiting().await, (0, 0));
}

#[tokio::test]
async fn who_is_taken_back_while_waiting_leaves_the_queue() {
    let fixture = Fixture::with(&[("mug", 1)]).await;
    let clock = Clock::system();
    let [first, second, third] = [fixture.order(), fixture.order(), fixture.order()];
    fixture
        .deliver(&[
            first.reserve(&[("mug", 1)]),
            second.reserve(&[("mug", 1)]),
            third.reserve(&[("mug", 1)]),
        ])
        .await;
    let said = fixture.deliver(&[second.release()]).await;
    assert_eq!(words(&said), ["undone_empty"]);
    fixture.deliver(&[first.release()]).await;
    assert_eq!(fixture.granted(&clock).await, ["done"], "the third");
    assert_eq!(fixture.waiting().await, (0, 0));
    assert_eq!(fixture.row("mug").await, (1, 1, 0));
}

#[tokio::test]
async fn two_granters_grant_once() {
    let fixture = Fixture::with(&[("mug", 5)]).await;
    let clock = Clock::system();
    let first = fixture.order();
    fixture.deliver(&[first.reserve(&[("mug", 5)])]).await;
    let waiting: Vec<_> = (0..20)
        .map(|_| fixture.order().reserve(&[("mug", 1)]))
        .collect();
    fixture.deliver(&waiting).await;
    fixture.deliver(&[first.release()]).await;
    let looks = tokio::join!(grant(&fixture.db, &clock), grant(&fixture.db, &clock));
    looks.0.unwrap();
    looks.1.unwrap();
    assert_eq!(words(&fixture.replies().await), ["done"; 5]);
    assert_eq!(fixture.row("mug").await, (5, 5, 0));
    assert_eq!(fixture.waiting().await, (15, 15));
}
