use palinode_messaging::BatchHandler;
use palinode_pb::inventory::v1::inventory_service_server::InventoryService;
use palinode_pb::inventory::v1::{GetReservationRequest, ReservationState};
use palinode_values::Clock;
use tonic::Request;

use crate::fixture::{Fixture, Order, reservation_of, transient, words};

impl Fixture {
    /// An order that has bought `lines`, and its reservation; its events are taken.
    async fn sold(&self, lines: &[(&str, i32)]) -> (Order, String) {
        let order = self.order();
        let reservation = reservation_of(&self.deliver(&[order.reserve(lines)]).await[0]);
        self.deliver(&[order.commit(&reservation)]).await;
        self.events().await;
        (order, reservation)
    }
}

#[tokio::test]
async fn sold_stock_comes_back_once() {
    let fixture = Fixture::with(&[("mug", 10), ("pot", 5)]).await;
    let (order, reservation) = fixture.sold(&[("pot", 1), ("mug", 3)]).await;
    assert_eq!(fixture.row("mug").await, (7, 0, 3));

    let restock = order.of_another_saga().restock();
    let answers = fixture.deliver(&[restock.clone(), restock.clone()]).await;
    assert_eq!(words(&answers), ["done", "done"]);
    assert_eq!(words(&fixture.deliver(&[restock]).await), ["done"]);
    assert_eq!(fixture.row("mug").await, (10, 0, 0));
    assert_eq!(fixture.row("pot").await, (5, 0, 0));
    assert_eq!(fixture.events().await, ["StockRestocked"]);
    assert_eq!(fixture.broken().await, [""; 0]);

    let reservation_id = reservation.clone();
    let request = Request::new(GetReservationRequest { reservation_id });
    let found = fixture.rpc().get_reservation(request).await.unwrap();
    let found = found.into_inner().reservation.unwrap();
    assert_eq!(found.state(), ReservationState::Restocked);

    // late repeats of the saga that sold it hear what they heard, and sell nothing again
    assert_eq!(
        words(&fixture.deliver(&[order.commit(&reservation)]).await),
        ["done"]
    );
    // another saga is told that there is nothing to put back, and to what state it came
    let other = order.of_another_saga().restock();
    let answers = fixture.deliver(std::slice::from_ref(&other)).await;
    assert!(
        transient(&answers[0]).ends_with("is restocked"),
        "{answers:?}"
    );
    assert_eq!(fixture.row("mug").await, (10, 0, 0));
}

#[tokio::test]
async fn what_is_not_sold_is_not_put_back_yet() {
    let fixture = Fixture::with(&[("mug", 10)]).await;
    let (held, released, unknown) = (fixture.order(), fixture.order(), fixture.order());
    let lines = [("mug", 1)];
    let reserved = fixture
        .deliver(&[held.reserve(&lines), released.reserve(&lines)])
        .await;
    fixture.deliver(&[released.release()]).await;
    let restock = held.of_another_saga().restock();
    let answers = fixture
        .deliver(&[
            restock.clone(),
            released.of_another_saga().restock(),
            unknown.restock(),
        ])
        .await;
    let told: Vec<&str> = answers.iter().map(transient).collect();
    assert!(told[0].ends_with("is held"), "{told:?}");
    assert!(told[1].ends_with("is released"), "{told:?}");
    assert!(told[2].ends_with("is sold"), "{told:?}");
    assert_eq!(fixture.row("mug").await, (10, 1, 0));

    // nothing was stored: asked again when it is sold, the same step puts it back
    fixture
        .deliver(&[held.commit(&reservation_of(&reserved[0]))])
        .await;
    assert_eq!(words(&fixture.deliver(&[restock]).await), ["done"]);
    assert_eq!(fixture.row("mug").await, (10, 0, 0));
    assert_eq!(fixture.broken().await, [""; 0]);
}

#[tokio::test]
async fn a_batch_that_sells_puts_back_and_holds_is_decided_in_its_order() {
    let fixture = Fixture::with(&[("mug", 3)]).await;
    let (sold, _) = fixture.sold(&[("mug", 2)]).await;
    let (next, last) = (fixture.order(), fixture.order());
    let answers = fixture
        .deliver(&[
            next.reserve(&[("mug", 3)]),
            sold.of_another_saga().restock(),
            last.reserve(&[("mug", 3)]),
        ])
        .await;
    assert_eq!(words(&answers), ["OUT_OF_STOCK", "done", "done"]);
    assert_eq!(fixture.row("mug").await, (3, 3, 0));
    assert_eq!(fixture.events().await, ["StockRestocked", "StockReserved"]);
    assert_eq!(fixture.broken().await, [""; 0]);
}

#[tokio::test]
async fn what_is_put_back_goes_to_who_waits() {
    let fixture = Fixture::with(&[("mug", 2)]).await;
    let (sold, _) = fixture.sold(&[("mug", 1)]).await;
    let (holds, waits) = (fixture.order(), fixture.order());
    let answers = fixture
        .deliver(&[holds.reserve(&[("mug", 1)]), waits.reserve(&[("mug", 1)])])
        .await;
    assert_eq!(words(&answers), ["done", "pending"]);
    fixture.deliver(&[sold.of_another_saga().restock()]).await;
    assert_eq!(fixture.granted(&Clock::system()).await, ["done"]);
    assert_eq!(fixture.row("mug").await, (2, 2, 0));
    assert_eq!(fixture.broken().await, [""; 0]);
}

/// Two sagas want to put the same sales back, in opposite orders, while others buy.
#[tokio::test]
async fn a_sale_is_put_back_by_one_of_two_sagas() {
    let fixture = Fixture::with(&[("ant", 50), ("bee", 50)]).await;
    let mut sold = Vec::new();
    for _ in 0..25 {
        sold.push(fixture.sold(&[("ant", 2), ("bee", 2)]).await.0);
    }
    let restocks = |sold: &[Order]| -> Vec<_> {
        sold.iter()
            .map(|order| order.of_another_saga().restock())
            .collect()
    };
    let forward = restocks(&sold);
    sold.reverse();
    let backward = restocks(&sold);
    let buys: Vec<_> = (0..25)
        .map(|_| fixture.order().reserve(&[("bee", 1), ("ant", 1)]))
        .collect();
    let (mut one, mut two, mut three) = (
        fixture.participant(),
        fixture.participant(),
        fixture.participant(),
    );
    let raced = tokio::join!(
        one.handle(&forward),
        two.handle(&backward),
        three.handle(&buys)
    );
    raced.0.unwrap();
    raced.1.unwrap();
    raced.2.unwrap();
    let said = words(&fixture.replies().await);
    let transient = said.iter().filter(|word| *word == "transient");
    assert_eq!(transient.count(), 25);
    let put_back = fixture.events().await;
    let put_back = put_back.iter().filter(|event| *event == "StockRestocked");
    assert_eq!(put_back.count(), 25);
    let (on_hand, _, sold) = fixture.row("ant").await;
    assert_eq!((on_hand, sold), (50, 0));
    assert_eq!(fixture.broken().await, [""; 0]);
}
