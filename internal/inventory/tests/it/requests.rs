use palinode_auth::{Caller, Role};
use palinode_pb::inventory::v1::inventory_service_server::InventoryService;
use palinode_pb::inventory::v1::{
    AdjustStockRequest, GetReservationRequest, GetStockRequest, ListStockRequest, ReservationState,
    Stock,
};
use palinode_pb::validate::Validate as _;
use palinode_rpc::{Failure, call_of};
use palinode_values::ErrorCode;
use tonic::{Request, Status};

use crate::fixture::{Fixture, reservation_of};

fn adjust(sku: &str, delta: i64, key: Option<&str>) -> Request<AdjustStockRequest> {
    adjust_by("ada", sku, delta, key)
}

fn adjust_by(staff: &str, sku: &str, delta: i64, key: Option<&str>) -> Request<AdjustStockRequest> {
    let message = AdjustStockRequest {
        sku: sku.to_owned(),
        delta,
        reason: "counted".to_owned(),
    };
    let caller = Caller::customer(staff.parse().expect("a user id")).with(Role::Staff);
    let mut request = call_of(caller, message);
    if let Some(key) = key {
        request.metadata_mut().insert(
            "idempotency-key",
            key.parse().expect("a key is visible ASCII"),
        );
    }
    request
}

fn failure(status: Status) -> (ErrorCode, String) {
    let failure = Failure::from(status);
    (failure.code, failure.reason)
}

fn mugs(on_hand: i64, held: i64) -> Option<Stock> {
    Some(Stock {
        sku: "mug".to_owned(),
        on_hand,
        held,
        available: on_hand - held,
    })
}

#[tokio::test]
async fn an_adjustment_with_a_key_is_made_once() {
    let fixture = Fixture::with(&[("mug", 10)]).await;
    let rpc = fixture.rpc();
    for _ in 0..2 {
        let answer = rpc
            .adjust_stock(adjust("mug", -3, Some("k1")))
            .await
            .unwrap();
        assert_eq!(answer.into_inner().stock, mugs(7, 0));
    }
    let other = rpc
        .adjust_stock(adjust("mug", -4, Some("k1")))
        .await
        .unwrap_err();
    assert_eq!(
        failure(other),
        (ErrorCode::Conflict, "IDEMPOTENCY_KEY_REUSED".to_owned())
    );
    let other = rpc
        .adjust_stock(adjust("pot", 4, Some("k1")))
        .await
        .unwrap_err();
    assert_eq!(
        failure(other),
        (ErrorCode::Conflict, "IDEMPOTENCY_KEY_REUSED".to_owned())
    );
    for on_hand in [8, 9] {
        let answer = rpc.adjust_stock(adjust("mug", 1, None)).await.unwrap();
        assert_eq!(answer.into_inner().stock, mugs(on_hand, 0));
    }
    assert_eq!(fixture.broken().await, [""; 0]);
}

#[tokio::test]
async fn each_caller_has_keys_of_his_own() {
    let fixture = Fixture::with(&[("mug", 0)]).await;
    let rpc = fixture.rpc();
    // the last is the key of the seed
    for (staff, key, then) in [
        ("ada", "k1", 1),
        ("ben", "k1", 2),
        ("ada", "k1", 1),
        ("ada", "seed/mug", 3),
    ] {
        let answer = rpc.adjust_stock(adjust_by(staff, "mug", 1, Some(key)));
        let stock = answer.await.unwrap().into_inner().stock;
        assert_eq!(stock, mugs(then, 0), "{staff}");
    }
}

#[tokio::test]
async fn two_equal_requests_at_once_are_one_adjustment() {
    let fixture = Fixture::with(&[("mug", 0)]).await;
    let rpc = fixture.rpc();
    for round in 0..10 {
        let key = format!("round-{round}");
        let (one, two) = tokio::join!(
            rpc.adjust_stock(adjust("mug", 1, Some(&key))),
            rpc.adjust_stock(adjust("mug", 1, Some(&key))),
        );
        assert_eq!(one.unwrap().into_inner().stock, mugs(round + 1, 0));
        assert_eq!(two.unwrap().into_inner().stock, mugs(round + 1, 0));
    }
}

#[tokio::test]
async fn what_is_held_or_unknown_cannot_be_taken_out() {
    let fixture = Fixture::with(&[("mug", 10)]).await;
    let rpc = fixture.rpc();
    fixture
        .deliver(&[fixture.order().reserve(&[("mug", 4)])])
        .await;
    let refused = rpc.adjust_stock(adjust("mug", -7, None)).await.unwrap_err();
    assert_eq!(
        failure(refused),
        (ErrorCode::Refused, "STOCK_HELD".to_owned())
    );
    let taken = rpc.adjust_stock(adjust("mug", -6, None)).await.unwrap();
    assert_eq!(taken.into_inner().stock, mugs(4, 4));

    let unknown = rpc.adjust_stock(adjust("pot", -1, None)).await.unwrap_err();
    assert_eq!(
        failure(unknown),
        (ErrorCode::NotFound, "UNKNOWN_SKU".to_owned())
    );
    for (sku, delta, field) in [
        ("mug", 0, "delta"),
        ("mug", i64::MAX, "delta"),
        ("a b", 1, "sku"),
    ] {
        let invalid = adjust(sku, delta, None).get_ref().validate().unwrap_err();
        assert_eq!(invalid.list()[0].field, field);
    }
    let unknown = rpc
        .get_stock(Request::new(GetStockRequest {
            sku: "pot".to_owned(),
        }))
        .await;
    assert_eq!(failure(unknown.unwrap_err()).0, ErrorCode::NotFound);
}

#[tokio::test]
async fn stock_is_listed_in_pages() {
    let fixture = Fixture::with(&[("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]).await;
    let rpc = fixture.rpc();
    let (mut listed, mut pages, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let request = ListStockRequest {
            page_size: 2,
            page_token,
            ..ListStockRequest::default()
        };
        let page = rpc
            .list_stock(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        listed.extend(
            page.stock
                .into_iter()
                .map(|stock| (stock.sku, stock.available)),
        );
        (pages, page_token) = (pages + 1, page.next_page_token);
        if page_token.is_empty() {
            break;
        }
    }
    let expected = [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)];
    assert_eq!(
        listed,
        expected.map(|(sku, available)| (sku.to_owned(), available))
    );
    assert_eq!(pages, 3);
    let wrong = ListStockRequest {
        page_size: 201,
        page_token: "a/b".to_owned(),
        ..ListStockRequest::default()
    };
    assert_eq!(wrong.validate().unwrap_err().list()[0].field, "page_size");
    let status = rpc.list_stock(Request::new(wrong)).await.unwrap_err();
    assert_eq!(failure(status).0, ErrorCode::Invalid);
}

#[tokio::test]
async fn the_stock_of_named_skus_is_listed_and_of_no_others() {
    let fixture = Fixture::with(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]).await;
    let rpc = fixture.rpc();
    let list = async |skus: &[&str], page_size, page_token: &str| {
        let request = ListStockRequest {
            page_size,
            page_token: page_token.to_owned(),
            skus: skus.iter().map(|sku| (*sku).to_owned()).collect(),
        };
        let page = rpc.list_stock(Request::new(request)).await?.into_inner();
        let stock = page.stock.into_iter().map(|stock| stock.sku);
        Ok::<_, tonic::Status>((stock.collect::<Vec<_>>(), page.next_page_token))
    };
    // in the order of SKUs, each once, and nothing for what is not there
    let (listed, more) = list(&["d", "nothing", "a", "d"], 0, "").await.unwrap();
    assert_eq!((listed, more.as_str()), (vec!["a".into(), "d".into()], ""));
    let (first, more) = list(&["d", "a"], 1, "").await.unwrap();
    let (second, end) = list(&["d", "a"], 1, &more).await.unwrap();
    assert_eq!([first, second].concat(), ["a", "d"]);
    assert_eq!(end, "");
    assert_eq!(list(&["nothing"], 0, "").await.unwrap().0, [""; 0]);
    let status = list(&["a", "a/b"], 0, "").await.unwrap_err();
    assert_eq!(failure(status).0, ErrorCode::Invalid);
    let many = ListStockRequest {
        skus: vec!["a".to_owned(); 201],
        ..ListStockRequest::default()
    };
    assert_eq!(many.validate().unwrap_err().list()[0].field, "skus");
}

#[tokio::test]
async fn a_reservation_can_be_looked_at() {
    let fixture = Fixture::with(&[("mug", 10), ("pot", 1)]).await;
    let (rpc, order) = (fixture.rpc(), fixture.order());
    let answers = fixture
        .deliver(&[order.reserve(&[("pot", 1), ("mug", 2)])])
        .await;
    let get = |reservation_id: String| Request::new(GetReservationRequest { reservation_id });
    let id = reservation_of(&answers[0]);
    for state in [ReservationState::Held, ReservationState::Released] {
        let found = rpc
            .get_reservation(get(id.clone()))
            .await
            .unwrap()
            .into_inner();
        let reservation = found.reservation.unwrap();
        assert_eq!(reservation.state(), state);
        assert_eq!(reservation.order_id, order.id.to_string());
        let lines: Vec<_> = reservation
            .lines
            .iter()
            .map(|line| (line.sku.as_str(), line.quantity))
            .collect();
        assert_eq!(lines, [("mug", 2), ("pot", 1)]);
        fixture.deliver(&[order.release()]).await;
    }
    let unknown = rpc
        .get_reservation(get(order.id.to_string()))
        .await
        .unwrap_err();
    assert_eq!(
        failure(unknown),
        (ErrorCode::NotFound, "RESERVATION_NOT_FOUND".to_owned())
    );
    let invalid = rpc
        .get_reservation(get("nonsense".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(failure(invalid).0, ErrorCode::Invalid);
}

#[tokio::test]
async fn a_seed_may_be_sown_twice() {
    let fixture = Fixture::with(&[("mug", 10)]).await;
    let again = [("mug".parse().unwrap(), 10), ("pot".parse().unwrap(), 1)];
    palinode_inventory::seed(&fixture.db, &again).await.unwrap();
    assert_eq!(fixture.row("mug").await, (10, 0, 0));
    assert_eq!(fixture.row("pot").await, (1, 0, 0));
}
