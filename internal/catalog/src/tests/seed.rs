use palinode_values::{Clock, Currency, Money};

use super::fixture::{Event, Fixture};
use crate::app::{Seed, SeedCategory, product_id_of, seed};

fn teapot(price_minor: i64) -> Seed {
    Seed {
        sku: "teapot".parse().unwrap(),
        name: "Teapot".to_owned(),
        description: "Pours.".to_owned(),
        category: "tea".to_owned(),
        price: Money::new(price_minor, Currency::EUR),
        picture_url: String::new(),
        initial_stock: 3,
    }
}

#[tokio::test]
async fn a_seed_is_sown_once_under_an_id_that_stays() {
    let fixture = Fixture::new().await;
    let categories = [SeedCategory {
        id: "tea".to_owned(),
        name: "Tea".to_owned(),
    }];
    let clock = Clock::system();
    for price in [3_450, 9_999] {
        let sown = seed(&fixture.db, &clock, &categories, &[teapot(price)]).await;
        sown.unwrap();
    }
    let id = product_id_of(&"teapot".parse().unwrap()).to_string();
    let product = fixture.get(&id).await.unwrap();
    assert_eq!((product.price.unwrap().units, product.revision), (34, 1));
    let events = fixture.events().await;
    assert!(
        matches!(&events[..], [Event::Created(event)] if event.initial_stock == 3),
        "{events:?}"
    );
    fixture.delete(&id).await.unwrap();
    let again = seed(&fixture.db, &clock, &categories, &[teapot(1)]).await;
    again.unwrap();
    assert!(fixture.get(&id).await.is_err(), "who deletes it is right");
    assert_eq!(fixture.events().await.len(), 2);
}
