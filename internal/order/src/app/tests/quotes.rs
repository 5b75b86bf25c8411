use palinode_pb::order::v1 as pb;
use palinode_pb::order::v1::quote_service_server::QuoteService;
use palinode_rpc::{Failure, call_of};
use palinode_values::{QuoteId, Timestamp};

use super::products::{created, deleted, updated};
use super::*;
use crate::app::cart::set_line;
use crate::app::place::place_alone;
use crate::app::quote::{Quoted, quote};
use crate::domain::Quote;
use crate::rpc::Quotes;

/// An instant that the clock of a test stands at.
fn noon() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn by_quote(id: QuoteId) -> Request {
    Request {
        goods: Goods::Quote(id),
        ..request(&[])
    }
}

impl World {
    async fn quote(&self, lines: &[(&str, i32)], key: Option<&Key>) -> Result<Quoted, PlaceError> {
        let alice = "alice".parse().unwrap();
        quote(&self.desk(), &alice, &skus(lines), key).await
    }

    pub(super) async fn quoted(&self, lines: &[(&str, i32)]) -> Quote {
        match self.quote(lines, None).await.unwrap() {
            Quoted::New(quote) | Quoted::Before(quote) => quote,
        }
    }

    /// Places an order that is not of lines alone.
    pub(super) async fn place_alone(
        &self,
        request: &Request,
        key: Option<&Key>,
    ) -> Result<Placed, PlaceError> {
        place_alone(&self.desk(), asked(request, key)).await
    }

    async fn kept(&self, id: QuoteId) -> Option<Quote> {
        store::quote::get(self.db.pool(), id).await.unwrap()
    }
}

pub(super) fn order(placed: Result<Placed, PlaceError>) -> Order {
    match placed.unwrap() {
        Placed::New(order) | Placed::Before(order) => order,
    }
}

pub(super) fn reason<T: std::fmt::Debug>(refused: Result<T, PlaceError>) -> String {
    refused.unwrap_err().reason().to_owned()
}

#[tokio::test]
async fn a_quote_is_ordered_at_its_prices_whatever_they_are_by_then() {
    let world = World::new().await;
    let quote = world.quoted(&[("mug", 2), ("pen", 1)]).await;
    assert_eq!(quote.total, Money::new(2 * 1_250 + 199, Currency::EUR));
    let changes = [created("mug", 9_900), created("pen", 100)];
    world.hear_of_products(&changes).await;

    // what it costs now is not what was promised
    let shown = Request {
        expected_total: Some(Money::new(2 * 9_900 + 100, Currency::EUR)),
        ..by_quote(quote.id)
    };
    let refused = world.place_alone(&shown, Some(&key(b"a"))).await;
    assert!(
        matches!(refused, Err(PlaceError::PriceChanged { now }) if now == quote.total),
        "{refused:?}"
    );
    assert_eq!(world.rows().await, [0; 5]);

    let shown = Request {
        expected_total: Some(quote.total),
        ..by_quote(quote.id)
    };
    let order = order(world.place_alone(&shown, None).await);
    assert_eq!((&order.lines, order.total), (&quote.lines, quote.total));
    assert_eq!(world.rows().await, [1, 2, 0, 1, 1]);
    let kept = world.kept(quote.id).await.unwrap();
    assert_eq!(kept.sold_as, Some(order.id));
    let same = Quote {
        sold_as: None,
        ..kept
    };
    assert_eq!(same, quote);
}

#[tokio::test]
async fn a_quote_is_ordered_once_by_however_many_at_once() {
    let world = World::new().await;
    let quote = world.quoted(&[("mug", 1)]).await;
    let wanted = by_quote(quote.id);
    let calls = (0..8).map(|_| world.place_alone(&wanted, None));
    let placed = futures_util::future::join_all(calls).await;
    let sold = placed.iter().filter(|placed| placed.is_ok()).count();
    assert_eq!((sold, world.rows().await), (1, [1, 1, 0, 1, 1]));
    for refused in placed.into_iter().filter(Result::is_err) {
        assert_eq!(reason(refused), "QUOTE_USED");
    }
    // a key of the refused call is free again
    let key = key(b"a");
    let again = world.place_alone(&wanted, Some(&key)).await;
    assert_eq!(reason(again), "QUOTE_USED");
    assert_eq!(world.rows().await, [1, 1, 0, 1, 1]);
}

#[tokio::test]
async fn the_same_key_is_answered_with_the_order_of_the_quote() {
    let world = World::new().await;
    let quote = world.quoted(&[("mug", 1)]).await;
    let (wanted, key) = (by_quote(quote.id), key(b"a"));
    let calls = (0..4).map(|_| world.place_alone(&wanted, Some(&key)));
    let placed = futures_util::future::join_all(calls).await;
    let news = placed.iter().filter(|p| matches!(p, Ok(Placed::New(_))));
    assert_eq!(news.count(), 1);
    let mut ids: Vec<OrderId> = placed.into_iter().map(|placed| order(placed).id).collect();
    ids.dedup();
    assert_eq!((ids.len(), world.rows().await), (1, [1, 1, 1, 1, 1]));
}

#[tokio::test]
async fn a_quote_holds_for_a_quarter_of_an_hour() {
    let mut world = World::new().await;
    world.clock = Clock::manual(noon());
    let (early, late) = (
        world.quoted(&[("mug", 1)]).await,
        world.quoted(&[("mug", 1)]).await,
    );
    let hold = early.expires_at - early.created_at;
    assert_eq!(hold, chrono::TimeDelta::minutes(15));
    world.clock.set(early.expires_at - Duration::from_micros(1));
    order(world.place_alone(&by_quote(early.id), None).await);
    world.clock.set(late.expires_at);
    let refused = world
        .place_alone(&by_quote(late.id), Some(&key(b"a")))
        .await;
    assert_eq!(reason(refused), "QUOTE_EXPIRED");
    // what was ordered in time stays ordered
    let again = world.place_alone(&by_quote(early.id), None).await;
    assert_eq!(reason(again), "QUOTE_USED");
    assert_eq!(world.rows().await, [1, 1, 0, 1, 1]);

    let purge = async |days| {
        let before = noon() + chrono::TimeDelta::days(days) - KEYS_KEPT;
        store::quote::purge(&world.db, before, 1).await.unwrap()
    };
    assert_eq!(purge(7).await, 0);
    assert_eq!((purge(8).await, purge(8).await, purge(8).await), (1, 1, 0));
    let gone = world.place_alone(&by_quote(late.id), None).await;
    assert_eq!(reason(gone), "QUOTE_NOT_FOUND");
}

#[tokio::test]
async fn a_quote_of_somebody_else_is_not_there() {
    let world = World::new().await;
    let quote = world.quoted(&[("mug", 1)]).await;
    let theft = Request {
        user: "bob".parse().unwrap(),
        ..by_quote(quote.id)
    };
    let refused = world.place_alone(&theft, None).await;
    assert_eq!(reason(refused), "QUOTE_NOT_FOUND");
    let quotes = Quotes { desk: world.desk() };
    let get = async |user: &str| {
        let caller = Caller::customer(user.parse().unwrap());
        let quote_id = quote.id.to_string();
        let call = call_of(caller, pb::GetQuoteRequest { quote_id });
        let answer = quotes.get_quote(call).await;
        let found = answer.map(|answer| answer.into_inner().quote.unwrap().quote_id);
        found.map_err(|status| Failure::from(&status).reason)
    };
    assert_eq!(get("bob").await, Err("QUOTE_NOT_FOUND".to_owned()));
    assert_eq!(get("alice").await, Ok(quote.id.to_string()));
    order(world.place_alone(&by_quote(quote.id), None).await);
}

#[tokio::test]
async fn one_key_is_one_quote_and_nothing_else() {
    let world = World::new().await;
    let wanted = [("mug", 1)];
    let key_a = key(b"a");
    let calls = (0..4).map(|_| world.quote(&wanted, Some(&key_a)));
    let quotes = futures_util::future::join_all(calls).await;
    let mut ids: Vec<QuoteId> = Vec::new();
    for quoted in quotes {
        match quoted.unwrap() {
            Quoted::New(quote) => ids.insert(0, quote.id),
            Quoted::Before(quote) => ids.push(quote.id),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let other = world.quote(&wanted, Some(&key(b"b"))).await;
    assert_eq!(reason(other), "IDEMPOTENCY_KEY_REUSED");
    let order = world
        .place(&request(&wanted), Some(&key(b"an order")))
        .await;
    assert_eq!(reason(order), "IDEMPOTENCY_KEY_REUSED");
    // the quote was ordered meanwhile: the answer tells it as it is
    let sold = order_of(&world, ids[0]).await;
    let Quoted::Before(quote) = world.quote(&wanted, Some(&key_a)).await.unwrap() else {
        panic!("a second quote")
    };
    assert_eq!(quote.sold_as, Some(sold));
}

async fn order_of(world: &World, id: QuoteId) -> OrderId {
    order(world.place_alone(&by_quote(id), None).await).id
}

#[tokio::test]
async fn a_quote_of_nothing_is_of_the_cart_which_stays_as_it_is() {
    let world = World::new().await;
    let empty = world.quote(&[], Some(&key(b"a"))).await;
    assert_eq!(reason(empty), "CART_EMPTY");
    let alice = "alice".parse().unwrap();
    for (sku, pieces) in skus(&[("pen", 3), ("mug", 1)]) {
        set_line(&world.db, &alice, &sku, pieces).await.unwrap();
    }
    let quote = world.quoted(&[]).await;
    let lines = quote
        .lines
        .iter()
        .map(|line| (line.sku.as_str(), line.quantity));
    assert_eq!(lines.collect::<Vec<_>>(), [("pen", 3), ("mug", 1)]);
    assert_eq!(quote.total, Money::new(3 * 199 + 1_250, Currency::EUR));
    let mut tx = world.db.begin().await.unwrap();
    let cart = store::cart::get(&mut tx, &alice).await.unwrap();
    assert_eq!(cart.lines(), skus(&[("pen", 3), ("mug", 1)]));
}

#[tokio::test]
async fn what_was_deleted_is_neither_quoted_nor_ordered_by_a_quote() {
    let world = World::new().await;
    let quote = world.quoted(&[("mug", 1), ("pen", 1)]).await;
    world
        .hear_of_products(&[updated("pen", 1, 150), deleted("pen", 2)])
        .await;
    let field = |refused: PlaceError| match refused {
        PlaceError::Invalid(wrong) => (wrong.list()[0].field.clone(), wrong.list()[0].reason),
        other => panic!("{other}"),
    };
    let expected = ("lines[1].sku".to_owned(), "UNKNOWN_SKU");
    let refused = world.quote(&[("mug", 1), ("pen", 1)], None).await;
    assert_eq!(field(refused.unwrap_err()), expected);
    let refused = world
        .place_alone(&by_quote(quote.id), Some(&key(b"a")))
        .await;
    assert_eq!(field(refused.unwrap_err()), expected);
    assert_eq!(world.rows().await, [0; 5]);
    assert_eq!(world.kept(quote.id).await.unwrap().sold_as, None);
}

/// The order cannot be written, by an address that the database refuses.
#[tokio::test]
async fn a_quote_is_not_used_by_an_order_that_was_not_written() {
    let world = World::new().await;
    let quote = world.quoted(&[("mug", 1)]).await;
    let mut unwritable = by_quote(quote.id);
    unwritable.address.city = "Ber\0lin".to_owned();
    let refused = world.place_alone(&unwritable, Some(&key(b"a"))).await;
    assert_eq!(reason(refused), "INTERNAL");
    assert_eq!(world.kept(quote.id).await.unwrap().sold_as, None);
    assert_eq!(world.rows().await, [0; 5]);
}
