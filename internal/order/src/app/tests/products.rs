use palinode_messaging::{BatchHandler, Committed, Received};
use palinode_participant::Inbox;
use palinode_pb::catalog::v1::{
    Product as PbProduct, ProductCreated, ProductDeleted, ProductUpdated,
};
use palinode_pb::google::r#type::Money as PbMoney;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::forget::event;
use super::*;
use crate::consumers::Products;

const ID: &str = "0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42";

fn at(sku: &str, revision: i64, cents: i64) -> Option<PbProduct> {
    let (units, nanos) = Money::new(cents, Currency::EUR).to_units_and_nanos();
    Some(PbProduct {
        product_id: ID.to_owned(),
        sku: sku.to_owned(),
        name: format!("{sku} {revision}"),
        price: Some(PbMoney {
            currency_code: "EUR".to_owned(),
            units,
            nanos,
        }),
        revision,
        ..PbProduct::default()
    })
}

pub(super) fn created(sku: &str, cents: i64) -> Received {
    event(&ProductCreated {
        product: at(sku, 1, cents),
        initial_stock: 5,
    })
}

pub(super) fn updated(sku: &str, revision: i64, cents: i64) -> Received {
    let product = at(sku, revision, cents);
    event(&ProductUpdated { product })
}

pub(super) fn deleted(sku: &str, revision: i64) -> Received {
    event(&ProductDeleted {
        product_id: ID.to_owned(),
        sku: sku.to_owned(),
        revision,
    })
}

impl World {
    pub(super) async fn hear_of_products(&self, batch: &[Received]) {
        let mut inbox = Inbox::new(self.db.clone(), Products);
        let Committed = inbox.handle(batch).await.unwrap();
    }

    /// Price, revision, and whether it is deleted.
    async fn product(&self, sku: &str) -> Option<(Option<i64>, i64, bool)> {
        let found = sqlx::query!(
            "SELECT price_minor, revision, deleted FROM product WHERE sku = $1",
            sku
        );
        let found = found.fetch_optional(self.db.pool()).await.unwrap();
        found.map(|row| (row.price_minor, row.revision, row.deleted))
    }
}

#[tokio::test]
async fn a_product_is_sold_at_the_price_that_was_heard_last_until_it_is_deleted() {
    let world = World::new().await;
    let total = async || {
        let placed = world.place(&request(&[("cup", 2)]), None).await;
        placed.map(|placed| match placed {
            Placed::New(order) | Placed::Before(order) => order.total.minor,
        })
    };
    assert_eq!(total().await.unwrap_err().reason(), "INVALID_REQUEST");
    world.hear_of_products(&[created("cup", 500)]).await;
    assert_eq!(total().await.unwrap(), 1_000);
    world.hear_of_products(&[updated("cup", 2, 700)]).await;
    assert_eq!(total().await.unwrap(), 1_400);
    world.hear_of_products(&[deleted("cup", 3)]).await;
    let PlaceError::Invalid(wrong) = total().await.unwrap_err() else {
        panic!("not refused as invalid")
    };
    let wrong = &wrong.list()[0];
    assert_eq!(
        (wrong.field.as_str(), wrong.reason),
        ("lines[0].sku", "UNKNOWN_SKU")
    );
}

#[test]
fn products_end_as_their_greatest_revisions_say_in_whatever_order_they_are_heard() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let said = |cup: &str, pot: &str| {
        vec![
            created(cup, 500),
            updated(cup, 2, 700),
            updated(cup, 3, 600),
            created(pot, 900),
            deleted(pot, 2),
        ]
    };
    // each of them up to three times, in any order, cut into batches anywhere
    let heard = prop::collection::vec((0..5_usize, any::<bool>()), 0..12);
    let cases = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(40));
    let ran = runner.run(&heard, |some| {
        cases.set(cases.get() + 1);
        let (cup, pot) = (
            format!("cup-{}", cases.get()),
            format!("pot-{}", cases.get()),
        );
        let said = said(&cup, &pot);
        let rest = (0..said.len()).map(|index| (index, false));
        let mut batches = vec![Vec::new()];
        for (index, cut) in some.into_iter().chain(rest.rev()) {
            if cut {
                batches.push(Vec::new());
            }
            batches.last_mut().unwrap().push(said[index].clone());
        }
        let found = runtime.block_on(async {
            for batch in batches.iter().filter(|batch| !batch.is_empty()) {
                world.hear_of_products(batch).await;
            }
            (world.product(&cup).await, world.product(&pot).await)
        });
        let expected = (Some((Some(600), 3, false)), Some((None, 2, true)));
        prop_assert_eq!(found, expected);
        Ok(())
    });
    ran.unwrap();
}

#[tokio::test]
async fn what_was_seeded_gives_way_to_events_and_never_the_other_way() {
    let world = World::new().await;
    assert_eq!(world.product("mug").await, Some((Some(1_250), 0, false)));
    let seed = async |price| {
        let product = Product {
            sku: "mug".parse().unwrap(),
            name: "Mug".to_owned(),
            price: Money::new(price, Currency::EUR),
        };
        store::product::seed(&world.db, &[product]).await.unwrap();
    };
    seed(1_300).await;
    assert_eq!(world.product("mug").await, Some((Some(1_300), 0, false)));
    world.hear_of_products(&[created("mug", 999)]).await;
    seed(1_400).await;
    assert_eq!(world.product("mug").await, Some((Some(999), 1, false)));
    world.hear_of_products(&[deleted("mug", 2)]).await;
    seed(1_400).await;
    assert_eq!(world.product("mug").await, Some((None, 2, true)));
}

#[tokio::test]
async fn a_product_that_cannot_be_sold_is_parked_and_holds_up_nobody() {
    let world = World::new().await;
    let nameless = event(&ProductUpdated { product: None });
    let batch = [
        created("free", 0),
        updated("odd", 0, 100),
        deleted("no sku", 2),
        nameless,
        created("cup", 500),
    ];
    let batch: Vec<Received> = (0..)
        .zip(batch)
        .map(|(offset, record)| Received { offset, ..record })
        .collect();
    world.hear_of_products(&batch).await;
    let parked = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM consumer_parked"#);
    assert_eq!(parked.fetch_one(world.db.pool()).await.unwrap(), 4);
    assert_eq!(world.product("cup").await, Some((Some(500), 1, false)));
}
