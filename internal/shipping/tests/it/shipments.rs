use palinode_auth::Caller;
use palinode_messaging::{BatchHandler, Received};
use palinode_pb::shipping::v1::shipping_service_server::ShippingService;
use palinode_pb::shipping::v1::{GetShipmentRequest, ShipmentState};
use palinode_rpc::{Failure, call_of};
use palinode_values::ErrorCode;

use crate::fixture::{Fixture, Order, address, lines, shipment_of, words};

#[tokio::test]
async fn a_shipment_is_arranged_once_and_can_be_looked_at() {
    let fixture = Fixture::new().await;
    let order = fixture.order();
    let answers = fixture.deliver(&[order.ship("de"), order.ship("de")]).await;
    assert_eq!(answers[0], answers[1]);
    assert_eq!(
        fixture
            .deliver(&[order.ship("de"), order.probe("de")])
            .await,
        answers
    );
    assert_eq!(fixture.events().await, ["ShipmentArranged"]);

    let get_as = |user: &str, shipment_id: String| {
        let caller = Caller::customer(user.parse().unwrap());
        call_of(caller, GetShipmentRequest { shipment_id })
    };
    let get = |shipment_id: String| get_as("ada", shipment_id);
    let found = fixture
        .rpc()
        .get_shipment(get(shipment_of(&answers[0])))
        .await
        .unwrap();
    let shipment = found.into_inner().shipment.unwrap();
    assert_eq!(shipment.state(), ShipmentState::Arranged);
    assert_eq!(shipment.order_id, order.id.to_string());
    assert_eq!(shipment.carrier, "Elbe Kurier");
    assert_eq!(
        (shipment.address, shipment.lines),
        (Some(address("DE")), lines())
    );

    let unknown = fixture
        .rpc()
        .get_shipment(get(order.id.to_string()))
        .await
        .unwrap_err();
    let failure = Failure::from(unknown);
    assert_eq!(
        (failure.code, failure.reason.as_str()),
        (ErrorCode::NotFound, "SHIPMENT_NOT_FOUND")
    );
    let others = fixture
        .rpc()
        .get_shipment(get_as("mallory", shipment_of(&answers[0])))
        .await
        .unwrap_err();
    assert_eq!(Failure::from(others).reason, "SHIPMENT_NOT_FOUND");
    let invalid = fixture
        .rpc()
        .get_shipment(get("nonsense".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(Failure::from(invalid).code, ErrorCode::Invalid);
}

#[tokio::test]
async fn a_country_without_a_carrier_is_refused_for_good() {
    let fixture = Fixture::new().await;
    let (far, near) = (fixture.order(), fixture.order());
    let answers = fixture.deliver(&[far.ship("AQ"), near.ship("CH")]).await;
    assert_eq!(words(&answers), ["NO_CARRIER", "done"]);
    let again = fixture.deliver(&[far.ship("AQ"), far.probe("AQ")]).await;
    assert_eq!(words(&again), ["NO_CARRIER", "not_done"]);
    assert_eq!(fixture.events().await, ["ShipmentArranged"]);
}

#[tokio::test]
async fn after_a_probe_nothing_is_shipped() {
    let fixture = Fixture::new().await;
    let order = fixture.order();
    let answers = fixture
        .deliver(&[order.probe("DE"), order.ship("DE")])
        .await;
    assert_eq!(words(&answers), ["not_done", "refused"]);
    assert_eq!(fixture.events().await, [""; 0]);
}

#[tokio::test]
async fn a_second_saga_ships_nothing_more() {
    let fixture = Fixture::new().await;
    let order = fixture.order();
    let other = order.of_another_saga();
    let answers = fixture.deliver(&[order.ship("DE"), other.ship("DE")]).await;
    assert_eq!(words(&answers), ["done", "ALREADY_SHIPPED"]);
    let third = order.of_another_saga();
    assert_eq!(
        words(&fixture.deliver(&[third.ship("DE")]).await),
        ["ALREADY_SHIPPED"]
    );
}

#[tokio::test]
async fn a_shipment_is_never_taken_back() {
    let fixture = Fixture::new().await;
    let (order, other) = (fixture.order(), fixture.order());
    let answers = fixture
        .deliver(&[order.ship("DE"), order.undo("DE"), other.undo("DE")])
        .await;
    assert_eq!(
        words(&answers),
        ["done", "NOT_COMPENSATABLE", "undone_empty"]
    );
}

#[tokio::test]
async fn what_cannot_be_meant_is_parked() {
    let fixture = Fixture::new().await;
    let (nowhere, vague, good) = (fixture.order(), fixture.order(), fixture.order());
    let batch = [
        nowhere.ship_to(None),
        vague.ship("Germany"),
        good.ship("DE"),
    ];
    // a country that is none still gets its verdict: a pivot needs one
    assert_eq!(
        words(&fixture.deliver(&batch).await),
        ["NO_CARRIER", "done"]
    );
}

#[tokio::test]
async fn the_same_orders_in_opposite_order_are_shipped_once() {
    let fixture = Fixture::new().await;
    let orders: Vec<Order> = (0..60).map(|_| fixture.order()).collect();
    let forward: Vec<Received> = orders.iter().map(|order| order.ship("DE")).collect();
    let backward: Vec<Received> = forward.iter().rev().cloned().collect();
    let (mut one, mut two) = (fixture.participant(), fixture.participant());
    let (first, second) = tokio::join!(one.handle(&forward), two.handle(&backward));
    first.unwrap();
    second.unwrap();
    assert_eq!(words(&fixture.replies().await), vec!["done"; 120]);
    assert_eq!(fixture.events().await.len(), 60);
}
