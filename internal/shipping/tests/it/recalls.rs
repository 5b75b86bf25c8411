#![expect(clippy::unwrap_used, reason = "a test ends where its helpers fail")]

use palinode_auth::{Caller, Role};
use palinode_messaging::BatchHandler;
use palinode_pb::shipping::v1::shipping_service_server::ShippingService;
use palinode_pb::shipping::v1::{DispatchShipmentRequest, GetShipmentRequest, ShipmentState};
use palinode_rpc::{Failure, call_of};
use palinode_values::ErrorCode;

use crate::fixture::{Fixture, Order, shipment_of, words};

fn staff() -> Caller {
    Caller::customer("carol".parse().unwrap()).with(Role::Staff)
}

impl Fixture {
    /// An order whose parcel is booked, and the shipment; its events are taken.
    async fn shipped(&self) -> (Order, String) {
        let order = self.order();
        let answers = self.deliver(&[order.ship("DE")]).await;
        self.events().await;
        (order, shipment_of(&answers[0]))
    }

    async fn dispatch(&self, shipment: &str) -> Result<ShipmentState, Failure> {
        let shipment_id = shipment.to_owned();
        let request = call_of(staff(), DispatchShipmentRequest { shipment_id });
        let answer = self.rpc().dispatch_shipment(request).await?;
        Ok(answer.into_inner().shipment.unwrap().state())
    }

    async fn state(&self, shipment: &str) -> ShipmentState {
        let shipment_id = shipment.to_owned();
        let request = call_of(staff(), GetShipmentRequest { shipment_id });
        let answer = self.rpc().get_shipment(request).await.unwrap();
        answer.into_inner().shipment.unwrap().state()
    }
}

#[tokio::test]
async fn a_parcel_that_is_not_handed_over_is_called_back_once() {
    let fixture = Fixture::new().await;
    let (order, shipment) = fixture.shipped().await;
    let (cancel, other) = (order.of_another_saga(), order.of_another_saga());
    let recall = cancel.recall(&shipment);
    let answers = fixture
        .deliver(&[recall.clone(), recall.clone(), other.recall(&shipment)])
        .await;
    assert_eq!(words(&answers), ["done", "done", "ALREADY_RECALLED"]);
    let again = fixture
        .deliver(&[recall, other.of_another_saga().recall(&shipment)])
        .await;
    assert_eq!(words(&again), ["done", "ALREADY_RECALLED"]);
    assert_eq!(fixture.events().await, ["ShipmentRecalled"]);
    assert_eq!(fixture.state(&shipment).await, ShipmentState::Recalled);

    let refused = fixture.dispatch(&shipment).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (ErrorCode::Refused, "SHIPMENT_RECALLED")
    );
    assert!(
        refused.to_string().contains(&cancel.saga.to_string()),
        "{refused}"
    );
    assert_eq!(fixture.events().await, [""; 0]);
    // one shipment an order, also one that was called back
    let answers = fixture.deliver(&[other.ship("DE"), order.ship("DE")]).await;
    assert_eq!(words(&answers), ["ALREADY_SHIPPED", "done"]);
}

#[tokio::test]
async fn a_parcel_that_is_handed_over_is_not_called_back() {
    let fixture = Fixture::new().await;
    let (order, shipment) = fixture.shipped().await;
    for _ in 0..2 {
        let state = fixture.dispatch(&shipment).await.unwrap();
        assert_eq!(state, ShipmentState::Dispatched);
    }
    assert_eq!(fixture.events().await, ["ShipmentDispatched"]);
    let recall = order.of_another_saga().recall(&shipment);
    for _ in 0..2 {
        let answers = fixture.deliver(std::slice::from_ref(&recall)).await;
        assert_eq!(words(&answers), ["SHIPMENT_DISPATCHED"]);
    }
    assert_eq!(fixture.events().await, [""; 0]);
    assert_eq!(fixture.state(&shipment).await, ShipmentState::Dispatched);
}

#[tokio::test]
async fn only_the_orders_own_shipment_can_be_handed_over_or_called_back() {
    let fixture = Fixture::new().await;
    let (order, shipment) = fixture.shipped().await;
    let other = fixture.order();
    let nowhere = other.saga.to_string();
    let answers = fixture
        .deliver(&[
            other.recall(&shipment),
            order.of_another_saga().recall(&nowhere),
            order.of_another_saga().recall("nonsense"),
        ])
        .await;
    assert_eq!(words(&answers), ["SHIPMENT_NOT_FOUND"; 2]); // the third is parked
    let unknown = fixture.dispatch(&nowhere).await.unwrap_err();
    assert_eq!(
        (unknown.code, unknown.reason.as_str()),
        (ErrorCode::NotFound, "SHIPMENT_NOT_FOUND")
    );
    let invalid = fixture.dispatch("nonsense").await.unwrap_err();
    assert_eq!(invalid.code, ErrorCode::Invalid);
    assert_eq!(fixture.state(&shipment).await, ShipmentState::Arranged);
}

#[tokio::test]
async fn a_batch_holds_commands_of_every_kind() {
    let fixture = Fixture::new().await;
    let (one, first) = fixture.shipped().await;
    let (two, second) = fixture.shipped().await;
    fixture.dispatch(&second).await.unwrap();
    let fresh = fixture.order();
    let answers = fixture
        .deliver(&[
            two.of_another_saga().recall(&second),
            fresh.quote("CH"),
            fresh.ship_by("CH", 1),
            one.of_another_saga().recall(&first),
            fixture.order().ship("AQ"),
            one.ship("DE"),
        ])
        .await;
    assert_eq!(
        words(&answers),
        [
            "SHIPMENT_DISPATCHED",
            "done",
            "done",
            "done",
            "NO_CARRIER",
            "done"
        ]
    );
    assert_eq!(
        fixture.events().await,
        ["ShipmentDispatched", "ShipmentArranged", "ShipmentRecalled"]
    );
}

/// Whoever comes first, the other one is told no.
#[tokio::test]
async fn of_a_dispatch_and_a_recall_at_once_one_wins() {
    let fixture = Fixture::new().await;
    for _ in 0..40 {
        let (order, shipment) = fixture.shipped().await;
        let recall = [order.of_another_saga().recall(&shipment)];
        let mut participant = fixture.participant();
        let (dispatched, handled) =
            tokio::join!(fixture.dispatch(&shipment), participant.handle(&recall));
        handled.unwrap();
        let said = words(&fixture.replies().await);
        let (state, event) = match dispatched {
            Ok(_) => {
                assert_eq!(said, ["SHIPMENT_DISPATCHED"]);
                (ShipmentState::Dispatched, "ShipmentDispatched")
            }
            Err(refused) => {
                assert_eq!(refused.reason, "SHIPMENT_RECALLED");
                assert_eq!(said, ["done"]);
                (ShipmentState::Recalled, "ShipmentRecalled")
            }
        };
        assert_eq!(fixture.state(&shipment).await, state);
        assert_eq!(fixture.events().await, [event]);
    }
}

/// Two sagas want the same parcels back, in opposite orders.
#[tokio::test]
async fn of_two_recalls_at_once_one_wins_and_none_deadlocks() {
    let fixture = Fixture::new().await;
    let mut shipped = Vec::new();
    for _ in 0..40 {
        shipped.push(fixture.shipped().await);
    }
    let recalls = |shipped: &[(Order, String)]| -> Vec<_> {
        shipped
            .iter()
            .map(|(order, shipment)| order.of_another_saga().recall(shipment))
            .collect()
    };
    let forward = recalls(&shipped);
    shipped.reverse();
    let backward = recalls(&shipped);
    let (mut one, mut two) = (fixture.participant(), fixture.participant());
    let (first, second) = tokio::join!(one.handle(&forward), two.handle(&backward));
    first.unwrap();
    second.unwrap();
    let said = words(&fixture.replies().await);
    assert_eq!(said.iter().filter(|word| *word == "done").count(), 40);
    assert_eq!(
        said.iter()
            .filter(|word| *word == "ALREADY_RECALLED")
            .count(),
        40
    );
    assert_eq!(fixture.events().await, ["ShipmentRecalled"; 40]);
}
