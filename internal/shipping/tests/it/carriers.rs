#![expect(clippy::unwrap_used, reason = "a test ends where its helpers fail")]

use crate::fixture::{Fixture, quoted, words};

impl Fixture {
    /// What staff does to the table by hand.
    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    async fn by_hand(&self, sql: &'static str) {
        sqlx::query(sql).execute(self.db.pool()).await.unwrap();
    }
}

#[tokio::test]
async fn a_quote_tells_who_would_deliver_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let (near, far) = (fixture.order(), fixture.order());
    let answers = fixture.deliver(&[near.quote("de"), far.quote("AQ")]).await;
    assert_eq!(words(&answers), ["done", "NO_CARRIER"]);
    assert_eq!(quoted(&answers[0]), ("Elbe Kurier".to_owned(), 1));
    assert_eq!(fixture.events().await, [""; 0]);
    fixture.by_hand("UPDATE carrier SET name = 'Other'").await;
    // the saga goes on hearing what it was told
    let again = fixture.deliver(&[near.quote("de"), far.quote("AQ")]).await;
    assert_eq!(again, answers);
}

#[tokio::test]
async fn a_carrier_that_changed_since_the_quote_is_not_booked() {
    let fixture = Fixture::new().await;
    let [seen, late, blind] = [fixture.order(), fixture.order(), fixture.order()];
    let answers = fixture.deliver(&[seen.quote("DE"), late.quote("DE")]).await;
    let (_, version) = quoted(&answers[0]);
    assert_eq!(
        words(&fixture.deliver(&[seen.ship_by("DE", version)]).await),
        ["done"]
    );
    fixture
        .by_hand("UPDATE carrier SET name = 'Other' WHERE country = 'DE'")
        .await;
    let answers = fixture
        .deliver(&[late.ship_by("DE", version), blind.ship("DE")])
        .await;
    assert_eq!(words(&answers), ["CARRIER_CHANGED", "done"]);
    // a verdict stays, whatever comes of the carrier
    fixture
        .by_hand("UPDATE carrier SET name = 'Elbe Kurier' WHERE country = 'DE'")
        .await;
    let again = fixture.deliver(&[late.ship_by("DE", version)]).await;
    assert_eq!(words(&again), ["CARRIER_CHANGED"]);
    assert_eq!(fixture.events().await, ["ShipmentArranged"; 2]);
}

/// Whatever is done by hand, a version stands for one carrier.
#[tokio::test]
async fn a_version_is_raised_by_a_change_and_by_nothing_else() {
    let fixture = Fixture::new().await;
    let version = async || {
        let answers = fixture.deliver(&[fixture.order().quote("FR")]).await;
        quoted(&answers[0]).1
    };
    let first = version().await;
    fixture.by_hand("UPDATE carrier SET name = name").await;
    fixture.by_hand("UPDATE carrier SET version = 77").await;
    assert_eq!(version().await, first);
    fixture
        .by_hand("UPDATE carrier SET name = 'Other', version = 1 WHERE country = 'FR'")
        .await;
    let second = version().await;
    assert!(second > first);
    fixture
        .by_hand("DELETE FROM carrier WHERE country = 'FR'")
        .await;
    fixture
        .by_hand("INSERT INTO carrier (country, name) VALUES ('FR', 'Third')")
        .await;
    assert!(version().await > second);
}
