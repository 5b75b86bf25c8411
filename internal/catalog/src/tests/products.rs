use std::time::Duration;

use futures_util::future::join_all;
use palinode_pb::catalog::v1 as pb;
use palinode_pb::catalog::v1::catalog_service_server::CatalogService;
use palinode_pb::google::r#type::Money;
use palinode_values::ErrorCode;
use tonic::Request;
use tonic_types::StatusExt;

use super::fixture::{Event, Fixture, by_admin, eur, mug, refusal, told};
use crate::store::creations;

fn change(product_id: &str) -> pb::UpdateProductRequest {
    pb::UpdateProductRequest {
        product_id: product_id.to_owned(),
        ..pb::UpdateProductRequest::default()
    }
}

fn renamed(product_id: &str, name: &str, revision: i64) -> pb::UpdateProductRequest {
    pb::UpdateProductRequest {
        name: Some(name.to_owned()),
        revision,
        ..change(product_id)
    }
}

#[tokio::test]
async fn a_product_is_created_as_it_was_asked_for_and_others_hear_of_it() {
    let fixture = Fixture::new().await;
    let answer = fixture
        .handlers
        .create_product(by_admin("root", mug("mug-1")))
        .await
        .unwrap();
    let metadata = answer.metadata().clone();
    let product = answer.into_inner().product.unwrap();
    assert_eq!(metadata.get("x-http-code").unwrap(), "201");
    let location = format!("/v1/products/{}", product.product_id);
    assert_eq!(metadata.get("location").unwrap(), location.as_str());
    let expect = pb::Product {
        product_id: product.product_id.clone(),
        sku: "mug-1".to_owned(),
        name: "Mug mug-1".to_owned(),
        description: "Holds tea.".to_owned(),
        category_id: "kitchen".to_owned(),
        price: Some(eur(1_290)),
        picture_url: "/pictures/mug.webp".to_owned(),
        revision: 1,
        created_at: product.created_at,
        updated_at: product.created_at,
    };
    assert_eq!(product, expect);
    assert_eq!(fixture.get(&product.product_id).await, Ok(product.clone()));
    let created = pb::ProductCreated {
        product: Some(product),
        initial_stock: 7,
    };
    assert_eq!(fixture.events().await, [Event::Created(created)]);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once_and_nothing_is_created() {
    let fixture = Fixture::new().await;
    let refused = async |price: Option<Money>| {
        let message = pb::CreateProductRequest {
            sku: "a b".to_owned(),
            price,
            ..mug("x")
        };
        let answer = fixture.handlers.create_product(by_admin("root", message));
        let status = answer.await.unwrap_err();
        let fields = status.get_details_bad_request().unwrap().field_violations;
        let told = fields.into_iter().map(|wrong| wrong.field);
        told.collect::<Vec<_>>()
    };
    let dollars = Money {
        currency_code: "USD".to_owned(),
        ..eur(100)
    };
    let half_a_cent = Money {
        nanos: 5_000_000,
        ..eur(100)
    };
    assert_eq!(refused(None).await, ["sku", "price"]);
    assert_eq!(refused(Some(dollars)).await, ["sku", "price.currency_code"]);
    for wrong in [half_a_cent, eur(0), eur(-100), eur(1_000_000_000_001)] {
        assert_eq!(refused(Some(wrong)).await, ["sku", "price"]);
    }
    let nowhere = pb::CreateProductRequest {
        category_id: "nowhere".to_owned(),
        ..mug("x")
    };
    let answer = fixture.create(nowhere).await;
    assert_eq!(answer, refusal(ErrorCode::NotFound, "CATEGORY_NOT_FOUND"));
    assert_eq!(fixture.count("SELECT count(*) FROM product").await, 0);
    assert_eq!(fixture.events().await, []);
}

#[tokio::test]
async fn of_many_who_want_one_sku_one_gets_it() {
    let fixture = Fixture::new().await;
    let racers = (0..6).map(|_| fixture.create(mug("mug-1")));
    let answers = join_all(racers).await;
    let taken = refusal(ErrorCode::AlreadyExists, "SKU_TAKEN");
    assert_eq!(answers.iter().filter(|answer| **answer == taken).count(), 5);
    assert_eq!(fixture.events().await.len(), 1);
}

#[tokio::test]
async fn a_key_creates_one_product_and_for_one_request_only() {
    let fixture = Fixture::new().await;
    let racers = (0..4).map(|_| fixture.create_with(mug("mug-1"), Some("k1")));
    let answers = join_all(racers).await.into_iter();
    let answers: Vec<_> = answers.map(Result::unwrap).collect();
    assert!(answers.iter().all(|p| *p == answers[0]), "{answers:?}");
    assert_eq!(fixture.events().await.len(), 1);

    let reused = refusal(ErrorCode::Conflict, "IDEMPOTENCY_KEY_REUSED");
    let more = pb::CreateProductRequest {
        initial_stock: 8,
        ..mug("mug-1")
    };
    for other in [mug("mug-2"), more] {
        assert_eq!(fixture.create_with(other, Some("k1")).await, reused);
    }
    // as it is now
    let id = &answers[0].product_id;
    let now = fixture.update(renamed(id, "Cup", 0)).await.unwrap();
    let again = fixture.create_with(mug("mug-1"), Some("k1")).await;
    assert_eq!(again, Ok(now));
    fixture.delete(id).await.unwrap();
    let again = fixture.create_with(mug("mug-1"), Some("k1")).await;
    assert_eq!(again, refusal(ErrorCode::NotFound, "PRODUCT_NOT_FOUND"));
}

#[tokio::test]
async fn a_key_of_one_user_is_not_that_of_another_and_a_failure_leaves_it_free() {
    let fixture = Fixture::new().await;
    fixture.create_with(mug("mug-1"), Some("k1")).await.unwrap();
    let mut by_another = by_admin("admin", mug("mug-2"));
    let key = "k1".parse().unwrap();
    by_another.metadata_mut().insert("idempotency-key", key);
    told(fixture.handlers.create_product(by_another).await).unwrap();

    let taken = fixture.create_with(mug("mug-1"), Some("k2")).await;
    assert_eq!(taken, refusal(ErrorCode::AlreadyExists, "SKU_TAKEN"));
    fixture.create_with(mug("mug-3"), Some("k2")).await.unwrap();
}

#[tokio::test]
async fn a_key_is_forgotten_after_its_time_and_not_before() {
    let fixture = Fixture::new().await;
    for sku in ["mug-1", "mug-2"] {
        fixture.create_with(mug(sku), Some(sku)).await.unwrap();
    }
    fixture
        .change("UPDATE creation SET at = now() - interval '8 days' WHERE key = 'mug-1'")
        .await;
    let week = Duration::from_hours(7 * 24);
    assert_eq!(
        creations::forget_keys(&fixture.db, week, 10).await.unwrap(),
        1
    );
    assert_eq!(
        creations::forget_keys(&fixture.db, week, 10).await.unwrap(),
        0
    );
    let again = fixture.create_with(mug("mug-1"), Some("mug-1")).await;
    assert_eq!(again, refusal(ErrorCode::AlreadyExists, "SKU_TAKEN"));
    fixture
        .create_with(mug("mug-2"), Some("mug-2"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_change_changes_what_is_given_and_the_rest_stays() {
    let fixture = Fixture::new().await;
    let first = fixture.create(mug("mug-1")).await.unwrap();
    let id = &first.product_id;
    let second = fixture
        .update(pb::UpdateProductRequest {
            price: Some(eur(990)),
            category_id: Some(String::new()),
            ..change(id)
        })
        .await
        .unwrap();
    let expect = pb::Product {
        price: Some(eur(990)),
        category_id: String::new(),
        revision: 2,
        updated_at: second.updated_at,
        ..first.clone()
    };
    assert_eq!(second, expect);
    assert_ne!(second.updated_at, first.updated_at);
    let third = fixture
        .update(pb::UpdateProductRequest {
            name: Some("Cup".to_owned()),
            description: Some(String::new()),
            category_id: Some("garden".to_owned()),
            picture_url: Some(String::new()),
            revision: 2,
            ..change(id)
        })
        .await
        .unwrap();
    let expect = pb::Product {
        name: "Cup".to_owned(),
        description: String::new(),
        category_id: "garden".to_owned(),
        picture_url: String::new(),
        revision: 3,
        updated_at: third.updated_at,
        ..second.clone()
    };
    assert_eq!(third, expect);
    // found under its new name, and not under the old one
    let by = |query: &str| pb::ListProductsRequest {
        query: query.to_owned(),
        ..pb::ListProductsRequest::default()
    };
    assert_eq!(fixture.skus(by("cup")).await, ["mug-1"]);
    assert_eq!(fixture.skus(by("holds")).await, [""; 0]);

    let same = fixture.update(renamed(id, "Cup", 0)).await;
    assert_eq!(
        same,
        Ok(third.clone()),
        "what changes nothing is no revision"
    );
    assert_eq!(fixture.update(change(id)).await, Ok(third.clone()));
    let told: Vec<_> = fixture.events().await.drain(1..).collect();
    let updated = |product| Event::Updated(pb::ProductUpdated { product });
    assert_eq!(told, [updated(Some(second)), updated(Some(third))]);
}

#[tokio::test]
async fn of_many_changes_to_one_revision_one_is_made() {
    let fixture = Fixture::new().await;
    let id = fixture.create(mug("mug-1")).await.unwrap().product_id;
    let racers = (0..6).map(|n| {
        let change = renamed(&id, &format!("Mug {n}"), 1);
        fixture.update(change)
    });
    let answers = join_all(racers).await;
    let late = refusal(ErrorCode::Conflict, "REVISION_CHANGED");
    assert_eq!(answers.iter().filter(|answer| **answer == late).count(), 5);
    let made = answers.into_iter().find_map(Result::ok).unwrap();
    assert_eq!(made.revision, 2);
    assert_eq!(fixture.get(&id).await, Ok(made));

    // without a revision all of them are, one after another
    let racers = (0..6).map(|n| {
        let change = renamed(&id, &format!("Cup {n}"), 0);
        fixture.update(change)
    });
    let mut revisions: Vec<i64> = join_all(racers)
        .await
        .into_iter()
        .map(|answer| answer.unwrap().revision)
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [3, 4, 5, 6, 7, 8]);
    // and are told in that order
    let told = fixture
        .events()
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::Updated(event) => Some(event.product.unwrap().revision),
            Event::Created(_) | Event::Deleted(_) => None,
        });
    assert_eq!(told.collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn a_change_that_is_refused_changes_nothing() {
    let fixture = Fixture::new().await;
    let product = fixture.create(mug("mug-1")).await.unwrap();
    let id = &product.product_id;
    let nowhere = pb::UpdateProductRequest {
        category_id: Some("nowhere".to_owned()),
        price: Some(eur(1)),
        ..change(id)
    };
    let answer = fixture.update(nowhere).await;
    assert_eq!(answer, refusal(ErrorCode::NotFound, "CATEGORY_NOT_FOUND"));
    let for_nothing = pb::UpdateProductRequest {
        price: Some(eur(0)),
        ..change(id)
    };
    let answer = fixture.update(for_nothing).await;
    assert_eq!(answer, refusal(ErrorCode::Invalid, "INVALID_REQUEST"));
    let unknown = "0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42";
    let missing = refusal(ErrorCode::NotFound, "PRODUCT_NOT_FOUND");
    assert_eq!(fixture.update(renamed(unknown, "Cup", 0)).await, missing);
    assert_eq!(fixture.get(id).await, Ok(product));
    assert_eq!(fixture.events().await.len(), 1);
}

#[tokio::test]
async fn a_deleted_product_is_gone_and_its_sku_stays_taken() {
    let fixture = Fixture::new().await;
    let product = fixture.create(mug("mug-1")).await.unwrap();
    let id = product.product_id.as_str();
    let racers = (0..4).map(|_| fixture.delete(id));
    assert_eq!(join_all(racers).await, [const { Ok(()) }; 4]);

    let missing = refusal(ErrorCode::NotFound, "PRODUCT_NOT_FOUND");
    assert_eq!(fixture.get(id).await, missing);
    let late = fixture.update(renamed(id, "Cup", 0)).await;
    assert_eq!(late, refusal(ErrorCode::NotFound, "PRODUCT_NOT_FOUND"));
    let all = pb::ListProductsRequest::default();
    assert_eq!(fixture.skus(all).await, [""; 0]);
    let taken = refusal(ErrorCode::AlreadyExists, "SKU_TAKEN");
    assert_eq!(fixture.create(mug("mug-1")).await, taken);
    let never = fixture.delete("0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42").await;
    assert_eq!(never, refusal(ErrorCode::NotFound, "PRODUCT_NOT_FOUND"));

    let deleted = pb::ProductDeleted {
        product_id: id.to_owned(),
        sku: "mug-1".to_owned(),
        revision: 2,
    };
    assert_eq!(fixture.events().await[1..], [Event::Deleted(deleted)]);
}

#[tokio::test]
async fn a_change_whose_event_cannot_be_written_is_not_made() {
    let fixture = Fixture::new().await;
    let product = fixture.create(mug("mug-1")).await.unwrap();
    fixture
        .change("ALTER TABLE outbox ADD CONSTRAINT nothing_more CHECK (false) NOT VALID")
        .await;
    let create = by_admin("root", mug("mug-2"));
    let refused = fixture.handlers.create_product(create).await;
    assert!(refused.is_err());
    let change = Request::new(renamed(&product.product_id, "Cup", 0));
    assert!(fixture.handlers.update_product(change).await.is_err());
    let delete = Request::new(pb::DeleteProductRequest {
        product_id: product.product_id.clone(),
    });
    assert!(fixture.handlers.delete_product(delete).await.is_err());
    assert_eq!(fixture.get(&product.product_id).await, Ok(product));
    assert_eq!(fixture.count("SELECT count(*) FROM product").await, 1);
}

#[tokio::test]
async fn several_are_answered_in_the_order_in_which_they_are_named_each_once() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for sku in ["a", "b", "c", "d"] {
        ids.push(fixture.create(mug(sku)).await.unwrap().product_id);
    }
    fixture.delete(&ids[3]).await.unwrap();
    let ask = async |product_ids: &[&str], skus: &[&str]| {
        let message = pb::BatchGetProductsRequest {
            product_ids: product_ids.iter().map(|&id| id.to_owned()).collect(),
            skus: skus.iter().map(|&sku| sku.to_owned()).collect(),
        };
        let answer = fixture.handlers.batch_get_products(Request::new(message));
        let products = told(answer.await).map(|answer| answer.products);
        products.map(|all| all.into_iter().map(|p| p.sku).collect::<Vec<_>>())
    };
    let expect = |skus: &[&str]| Ok(skus.iter().map(|&sku| sku.to_owned()).collect());
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let named = ask(&[ids[2], ids[3], ids[0]], &["nothing", "b", "a", "d", "b"]).await;
    assert_eq!(named, expect(&["c", "a", "b"]));
    assert_eq!(ask(&[], &["c"]).await, expect(&["c"]));
    let invalid = refusal(ErrorCode::Invalid, "INVALID_REQUEST");
    assert_eq!(ask(&[], &[]).await, invalid);
    assert_eq!(ask(&[ids[0]; 101], &["a"; 100]).await, invalid);
}
