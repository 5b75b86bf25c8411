use palinode_messaging::{BatchHandler, Received};
use palinode_pb::saga::v1::step_reply::Answer;

use crate::fixture::{Fixture, Order, reservation_of, transient, words};

#[tokio::test]
async fn a_reservation_is_held_and_then_sold() {
    let fixture = Fixture::with(&[("mug", 10), ("pot", 5)]).await;
    let order = fixture.order();
    let reserve = order.reserve(&[("pot", 1), ("mug", 2), ("mug", 1)]);
    let answers = fixture.deliver(&[reserve.clone(), reserve.clone()]).await;
    assert_eq!(answers[0], answers[1]);
    let reservation = reservation_of(&answers[0]);
    assert_eq!(fixture.row("mug").await, (10, 3, 0));
    assert_eq!(fixture.events().await, ["StockReserved"]);

    let commit = order.commit(&reservation);
    assert_eq!(
        words(&fixture.deliver(std::slice::from_ref(&commit)).await),
        ["done"]
    );
    assert_eq!(
        words(&fixture.deliver(&[commit, reserve]).await),
        ["done", "done"]
    );
    assert_eq!(fixture.row("mug").await, (7, 0, 3));
    assert_eq!(fixture.row("pot").await, (4, 0, 1));
    assert_eq!(fixture.events().await, ["StockCommitted"]);
    assert_eq!(fixture.broken().await, [""; 0]);
}

#[tokio::test]
async fn a_release_gives_everything_back() {
    let fixture = Fixture::with(&[("mug", 10), ("pot", 5)]).await;
    let order = fixture.order();
    fixture
        .deliver(&[order.reserve(&[("mug", 10), ("pot", 1)])])
        .await;
    let answers = fixture.deliver(&[order.release(), order.release()]).await;
    assert_eq!(words(&answers), ["undone", "undone"]);
    assert_eq!(fixture.row("mug").await, (10, 0, 0));
    assert_eq!(fixture.events().await, ["StockReserved", "StockReleased"]);
    let other = fixture.order();
    assert_eq!(
        words(&fixture.deliver(&[other.reserve(&[("mug", 10)])]).await),
        ["done"]
    );
    assert_eq!(fixture.broken().await, [""; 0]);
}

#[tokio::test]
async fn a_reservation_after_its_release_is_refused() {
    let fixture = Fixture::with(&[("mug", 10)]).await;
    let order = fixture.order();
    let answers = fixture
        .deliver(&[order.release(), order.reserve(&[("mug", 1)])])
        .await;
    assert_eq!(words(&answers[..1]), ["undone_empty"]);
    assert_eq!(fixture.row("mug").await, (10, 0, 0));
    assert_eq!(fixture.events().await, [""; 0]);
}

#[tokio::test]
async fn the_last_piece_goes_to_the_first_who_asks() {
    let fixture = Fixture::with(&[("mug", 1), ("pot", 9)]).await;
    let [first, second, third] = [fixture.order(), fixture.order(), fixture.order()];
    let answers = fixture
        .deliver(&[
            first.reserve(&[("mug", 1)]),
            second.reserve(&[("pot", 1), ("mug", 1)]),
            third.reserve(&[("lamp", 1)]),
        ])
        .await;
    assert_eq!(words(&answers), ["done", "pending", "UNKNOWN_SKU"]);
    assert_eq!(fixture.row("pot").await, (9, 0, 0));
    let too_many = second_try(&fixture, &[("mug", 2)]).await;
    assert_eq!(words(&too_many), ["OUT_OF_STOCK"]);
}

async fn second_try(fixture: &Fixture, lines: &[(&str, i32)]) -> Vec<Answer> {
    let order = fixture.order();
    let first = fixture.deliver(&[order.reserve(lines)]).await;
    // a verdict stays, and is heard again
    let again = fixture.deliver(&[order.reserve(lines)]).await;
    assert_eq!(words(&first), words(&again));
    again
}

#[tokio::test]
async fn a_second_saga_cannot_touch_what_the_first_holds() {
    let fixture = Fixture::with(&[("mug", 10)]).await;
    let mine = fixture.order();
    let other = mine.of_another_saga();
    let held = fixture.deliver(&[mine.reserve(&[("mug", 1)])]).await;
    let answers = fixture
        .deliver(&[other.reserve(&[("mug", 1)]), other.release()])
        .await;
    assert_eq!(words(&answers), ["ALREADY_RESERVED", "undone_empty"]);
    // may not fail, so it is asked again until somebody looks
    let answers = fixture
        .deliver(&[other.commit(&reservation_of(&held[0]))])
        .await;
    assert!(
        transient(&answers[0]).contains("NOT_RESERVED"),
        "{answers:?}"
    );
    assert_eq!(fixture.row("mug").await, (10, 1, 0));
}

#[tokio::test]
async fn what_cannot_be_meant_is_parked() {
    let fixture = Fixture::with(&[("mug", 10)]).await;
    let (none, negative, good) = (fixture.order(), fixture.order(), fixture.order());
    let batch = [
        none.reserve(&[]),
        negative.reserve(&[("mug", -1)]),
        good.reserve(&[("mug", 1)]),
        good.commit("nonsense"),
    ];
    assert_eq!(words(&fixture.deliver(&batch).await), ["done"]);
    assert_eq!(fixture.row("mug").await, (10, 1, 0));
}

/// Two participants, the same SKUs, opposite orders; more is asked for than there is.
#[tokio::test]
async fn batches_over_the_same_skus_neither_deadlock_nor_oversell() {
    let fixture = Fixture::with(&[("ant", 50), ("bee", 50), ("cat", 50)]).await;
    let orders: Vec<Order> = (0..120).map(|_| fixture.order()).collect();
    let ascending = [("ant", 1), ("bee", 1), ("cat", 1)];
    let descending = [("cat", 1), ("bee", 1), ("ant", 1)];
    let half = |orders: &[Order], lines: &[(&str, i32)]| -> Vec<Received> {
        orders.iter().map(|order| order.reserve(lines)).collect()
    };
    let (left, right) = orders.split_at(60);
    let (left, right) = (half(left, &ascending), half(right, &descending));
    let (mut one, mut two) = (fixture.participant(), fixture.participant());
    let both = async |batches: (&[Received], &[Received])| {
        let results = tokio::join!(one.handle(batches.0), two.handle(batches.1));
        results.0.unwrap();
        results.1.unwrap();
    };
    let mut both = both;
    for (left, right) in left.chunks(10).zip(right.chunks(10)) {
        both((left, right)).await;
    }
    let answers = words(&fixture.replies().await);
    assert_eq!(answers.iter().filter(|word| *word == "done").count(), 50);
    assert_eq!(answers.iter().filter(|word| *word == "pending").count(), 70);

    // who holds lets go, while the others ask once more (and hear their verdict again)
    let back: Vec<Received> = orders.iter().map(|order| order.release()).collect();
    for (chunk, again) in back.chunks(10).zip(right.chunks(10).cycle()) {
        both((chunk, again)).await;
    }
    for sku in ["ant", "bee", "cat"] {
        assert_eq!(fixture.row(sku).await, (50, 0, 0));
    }
    assert_eq!(fixture.broken().await, [""; 0]);
}
