use futures_util::StreamExt as _;
use palinode_pb::order::v1 as pb;
use palinode_pb::order::v1::cart_service_server::CartService;
use palinode_rpc::{Failure, call_of};
use palinode_values::UserId;

use super::products::{created, deleted, updated};
use super::quotes::{order, reason};
use super::*;
use crate::app::cart::{remove_line, set_line};
use crate::app::watch::Watchers;
use crate::rpc::{Answers, Carts};

fn check_out() -> Request {
    Request {
        goods: Goods::Cart,
        ..request(&[])
    }
}

impl World {
    pub(super) async fn put(&self, user: &str, lines: &[(&str, i32)]) {
        let user: UserId = user.parse().unwrap();
        for (sku, pieces) in skus(lines) {
            set_line(&self.db, &user, &sku, pieces).await.unwrap();
        }
    }

    pub(super) async fn cart(&self, user: &str) -> Vec<(Sku, i32)> {
        let mut tx = self.db.begin().await.unwrap();
        let cart = store::cart::get(&mut tx, &user.parse().unwrap()).await;
        cart.unwrap().lines().to_vec()
    }

    fn carts(&self) -> Carts {
        Carts {
            desk: self.desk(),
            answers: Answers::new(self.db.clone(), Watchers::default()),
        }
    }
}

#[tokio::test]
async fn a_cart_is_shown_at_the_prices_of_now_and_sums_what_is_available() {
    let world = World::new().await;
    let carts = world.carts();
    let alice = || Caller::customer("alice".parse().unwrap());
    let shown = async || {
        let cart = carts
            .get_cart(call_of(alice(), pb::GetCartRequest {}))
            .await;
        cart.unwrap().into_inner().cart.unwrap()
    };
    assert_eq!(shown().await, pb::Cart::default());
    world
        .put("alice", &[("mug", 2), ("pen", 1), ("mug", 3)])
        .await;
    world.put("bob", &[("pen", 7)]).await;
    world.hear_of_products(&[created("mug", 500)]).await;
    let cart = shown().await;
    let cents = |amount: &Option<palinode_pb::google::r#type::Money>| {
        let amount = amount.as_ref()?;
        Some(amount.units * 100 + i64::from(amount.nanos) / 10_000_000)
    };
    let lines = |cart: &pb::Cart| -> Vec<_> {
        let lines = cart.lines.iter();
        let line =
            |line: &pb::cart::Line| (line.sku.clone(), line.quantity, cents(&line.line_total));
        lines.map(line).collect()
    };
    let (mug, pen) = ("mug".to_owned(), "pen".to_owned());
    assert_eq!(
        lines(&cart),
        [(mug.clone(), 3, Some(1_500)), (pen.clone(), 1, Some(199))]
    );
    assert_eq!(cents(&cart.total), Some(1_699));

    world
        .hear_of_products(&[updated("mug", 2, 600), created("pen", 1), deleted("pen", 2)])
        .await;
    let cart = shown().await;
    assert_eq!(
        lines(&cart),
        [(mug.clone(), 3, Some(1_800)), (pen, 1, None)]
    );
    assert_eq!(cents(&cart.total), Some(1_800));
    let unavailable = cart.lines.iter().map(|line| line.unavailable);
    assert_eq!(unavailable.collect::<Vec<_>>(), [false, true]);

    // it can be taken out, and not be put in again
    let sku = "pen".to_owned();
    let call = call_of(alice(), pb::DeleteCartLineRequest { sku: sku.clone() });
    let cart = carts
        .delete_cart_line(call)
        .await
        .unwrap()
        .into_inner()
        .cart;
    assert_eq!(lines(&cart.unwrap()), [(mug, 3, Some(1_800))]);
    let quantity = 1;
    let call = call_of(alice(), pb::SetCartLineRequest { sku, quantity });
    let refused = carts.set_cart_line(call).await.unwrap_err();
    let failure = Failure::from(&refused);
    assert_eq!(failure.reason, "INVALID_REQUEST");
    let call = call_of(alice(), pb::DeleteCartRequest {});
    carts.delete_cart(call).await.unwrap();
    assert_eq!(shown().await, pb::Cart::default());
    assert_eq!(world.cart("bob").await, skus(&[("pen", 7)]));
}

#[tokio::test]
async fn a_cart_of_two_currencies_has_no_total() {
    let world = World::new().await;
    let dollars = Product {
        sku: "cup".parse().unwrap(),
        name: "Cup".to_owned(),
        price: Money::new(100, "USD".parse().unwrap()),
    };
    store::product::seed(&world.db, &[dollars]).await.unwrap();
    world.put("alice", &[("mug", 1), ("cup", 1)]).await;
    let alice = Caller::customer("alice".parse().unwrap());
    let call = call_of(alice, pb::GetCartRequest {});
    let cart = world
        .carts()
        .get_cart(call)
        .await
        .unwrap()
        .into_inner()
        .cart;
    assert_eq!(cart.unwrap().total, None);
    let refused = world.place_alone(&check_out(), None).await;
    assert_eq!(reason(refused), "TOTAL_OUT_OF_RANGE");
    assert_eq!(world.cart("alice").await.len(), 2);
}

#[tokio::test]
async fn a_cart_takes_a_hundred_lines_and_loses_none_that_come_at_once() {
    let world = World::new().await;
    let sku = |n: usize| format!("thing-{n}");
    let things: Vec<_> = (0..=100).map(|n| created(&sku(n), 100)).collect();
    world.hear_of_products(&things).await;
    let alice: UserId = "alice".parse().unwrap();
    let things: Vec<Sku> = (0..=100).map(|n| sku(n).parse().unwrap()).collect();
    let sets = things.iter().map(|sku| set_line(&world.db, &alice, sku, 1));
    // all of them wait for the one cart: not longer than a connection is waited for
    let set: Vec<_> = futures_util::stream::iter(sets)
        .buffer_unordered(10)
        .collect()
        .await;
    let refused: Vec<_> = set.iter().filter_map(|set| set.as_ref().err()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].reason(), "CART_FULL");
    let cart = world.cart("alice").await;
    assert_eq!(cart.len(), 100);
    // a line that is there can be changed still, and its place is free once it was taken out
    set_line(&world.db, &alice, &cart[7].0, 5).await.unwrap();
    assert_eq!(world.cart("alice").await[7].1, 5);
    remove_line(&world.db, &alice, &cart[7].0).await.unwrap();
    world.put("alice", &[("mug", 1)]).await;
    assert_eq!(world.cart("alice").await[99], skus(&[("mug", 1)])[0]);
}

#[tokio::test]
async fn a_cart_is_ordered_and_empty_then_and_the_same_key_finds_the_order() {
    let world = World::new().await;
    let key_a = key(b"a");
    let empty = world.place_alone(&check_out(), Some(&key_a)).await;
    assert_eq!(reason(empty), "CART_EMPTY");
    world.put("alice", &[("pen", 1), ("mug", 2)]).await;
    world.put("bob", &[("pen", 1)]).await;
    let Placed::New(first) = world.place_alone(&check_out(), Some(&key_a)).await.unwrap() else {
        panic!("there was no order yet")
    };
    let lines = first
        .lines
        .iter()
        .map(|line| (line.sku.as_str(), line.quantity));
    assert_eq!(lines.collect::<Vec<_>>(), [("pen", 1), ("mug", 2)]);
    assert_eq!(first.total, Money::new(199 + 2 * 1_250, Currency::EUR));
    assert_eq!(world.cart("alice").await, []);
    assert_eq!(world.cart("bob").await.len(), 1);
    assert_eq!(world.rows().await, [1, 2, 1, 1, 1]);

    // its present state, although there is a new cart by now
    let reject = Decision::Reject {
        reason: "OUT_OF_STOCK".to_owned(),
        detail: "no mug".to_owned(),
    };
    world.decide(&[(first.id, reject)]).await;
    world.put("alice", &[("mug", 1)]).await;
    let Placed::Before(again) = world.place_alone(&check_out(), Some(&key_a)).await.unwrap() else {
        panic!("a second order")
    };
    assert_eq!(again.id, first.id);
    assert!(matches!(again.status, Status::Rejected { .. }));
    assert_eq!(world.cart("alice").await.len(), 1);
    let other = world.place_alone(&check_out(), Some(&key(b"b"))).await;
    assert_eq!(reason(other), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn many_who_check_out_at_once_sell_once() {
    let world = World::new().await;
    world.put("alice", &[("mug", 1)]).await;
    let wanted = check_out();
    let keys: Vec<Option<Key>> = (0..8)
        .map(|n| {
            let key = format!("k-{n}");
            let fingerprint = b"a".to_vec();
            (n % 2 == 0).then_some(Key { key, fingerprint })
        })
        .collect();
    let calls = keys
        .iter()
        .map(|key| world.place_alone(&wanted, key.as_ref()));
    let placed = futures_util::future::join_all(calls).await;
    let sold = placed.iter().filter(|placed| placed.is_ok()).count();
    for refused in placed.into_iter().filter(Result::is_err) {
        assert_eq!(reason(refused), "CART_EMPTY");
    }
    assert_eq!((sold, world.rows().await[0]), (1, 1));
    // the one key at the most of the one who got it
    assert!(world.rows().await[2] <= 1);
}

#[tokio::test]
async fn what_is_put_in_while_the_cart_is_ordered_is_ordered_or_stays() {
    let world = World::new().await;
    let (alice, pen): (UserId, Sku) = ("alice".parse().unwrap(), "pen".parse().unwrap());
    for round in 0..20 {
        world.put("alice", &[("mug", 1)]).await;
        let wanted = check_out();
        let (placed, set) = tokio::join!(
            world.place_alone(&wanted, None),
            set_line(&world.db, &alice, &pen, 1)
        );
        set.unwrap();
        let ordered = order(placed).lines.iter().any(|line| line.sku == pen);
        let stays = world.cart("alice").await.iter().any(|(sku, _)| *sku == pen);
        assert_ne!(ordered, stays, "round {round}");
        remove_line(&world.db, &alice, &pen).await.unwrap();
        assert_eq!(world.cart("alice").await, []);
    }
}

#[tokio::test]
async fn a_cart_stays_when_it_cannot_be_ordered() {
    let world = World::new().await;
    world.put("alice", &[("mug", 1), ("pen", 1)]).await;
    world.hear_of_products(&[created("mug", 1_300)]).await;
    let shown = Request {
        expected_total: Some(Money::new(1_250 + 199, Currency::EUR)),
        ..check_out()
    };
    let refused = world
        .place_alone(&shown, Some(&key(b"a")))
        .await
        .unwrap_err();
    let PlaceError::PriceChanged { now } = &refused else {
        panic!("{refused}")
    };
    assert_eq!(*now, Money::new(1_300 + 199, Currency::EUR));
    assert!(refused.to_string().contains("14.99 EUR"), "{refused}");

    let mut unwritable = check_out();
    unwritable.address.city = "Ber\0lin".to_owned();
    let refused = world.place_alone(&unwritable, Some(&key(b"a"))).await;
    assert_eq!(reason(refused), "INTERNAL");

    let gone = [created("pen", 1), deleted("pen", 2)];
    world.hear_of_products(&gone).await;
    let refused = world.place_alone(&check_out(), Some(&key(b"a"))).await;
    let PlaceError::Invalid(wrong) = refused.unwrap_err() else {
        panic!("not refused as invalid")
    };
    assert_eq!(wrong.list()[0].field, "lines[1].sku");
    assert_eq!(world.cart("alice").await.len(), 2);
    assert_eq!(world.rows().await, [0; 5]);
}

#[tokio::test]
async fn an_order_at_another_price_than_was_shown_is_refused_and_its_neighbours_are_not() {
    let world = World::new().await;
    let shown = |cents| Request {
        expected_total: Some(Money::new(cents, Currency::EUR)),
        ..request(&[("mug", 2)])
    };
    let dollars = Request {
        expected_total: Some(Money::new(2_500, "USD".parse().unwrap())),
        ..request(&[("mug", 2)])
    };
    let key = key(b"a");
    let batch = [
        asked(&shown(2_499), Some(&key)),
        asked(&shown(2_500), None),
        asked(&dollars, None),
    ];
    let answers = place(&world.desk(), &batch).await;
    let words = answers.iter().map(|answer| match answer {
        Ok(_) => "placed",
        Err(error) => error.reason(),
    });
    let expected = ["PRICE_CHANGED", "placed", "PRICE_CHANGED"];
    assert_eq!(words.collect::<Vec<_>>(), expected);
    assert_eq!(world.rows().await, [1, 1, 0, 1, 1]);
}
