use futures_util::future::join;
use palinode_pb::catalog::v1 as pb;
use palinode_pb::catalog::v1::catalog_service_server::CatalogService;
use palinode_values::ErrorCode;
use tonic::Request;

use super::fixture::{Fixture, Refusal, mug, refusal, told};

impl Fixture {
    async fn categories(&self, page_size: i32, page_token: &str) -> pb::ListCategoriesResponse {
        let message = pb::ListCategoriesRequest {
            page_size,
            page_token: page_token.to_owned(),
        };
        let answer = self.handlers.list_categories(Request::new(message)).await;
        told(answer).unwrap()
    }

    async fn delete_category(&self, id: &str) -> Result<(), Refusal> {
        let message = pb::DeleteCategoryRequest {
            category_id: id.to_owned(),
        };
        told(self.handlers.delete_category(Request::new(message)).await).map(drop)
    }
}

#[tokio::test]
async fn categories_are_listed_by_name_each_once() {
    let fixture = Fixture::new().await;
    let long = "ä".repeat(100);
    for (id, name) in [("a", "same/name"), ("b", "same/name"), ("c", long.as_str())] {
        fixture.make_category(id, name).await;
    }
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let page = fixture.categories(1, &token).await;
        ids.extend(page.categories.into_iter().map(|c| c.category_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        assert!(token.len() <= 1_000);
    }
    assert_eq!(ids, ["garden", "kitchen", "a", "b", "c"]);
    let bad = pb::ListCategoriesRequest {
        page_token: "AAAA".to_owned(),
        ..pb::ListCategoriesRequest::default()
    };
    let answer = fixture.handlers.list_categories(Request::new(bad)).await;
    let invalid = refusal(ErrorCode::Invalid, "INVALID_REQUEST");
    assert_eq!(told(answer), invalid);
}

#[tokio::test]
async fn a_category_that_is_there_stays_as_it_is() {
    let fixture = Fixture::new().await;
    let kitchen = fixture.make_category("kitchen", "Everything for tea").await;
    assert_eq!(kitchen.name, "kitchen");
    assert_eq!(fixture.categories(0, "").await.categories.len(), 2);
}

#[tokio::test]
async fn a_category_goes_when_no_product_is_in_it_any_more() {
    let fixture = Fixture::new().await;
    let in_use = refusal(ErrorCode::Refused, "CATEGORY_IN_USE");
    let one = fixture.create(mug("mug-1")).await.unwrap().product_id;
    let two = fixture.create(mug("mug-2")).await.unwrap().product_id;
    assert_eq!(fixture.delete_category("kitchen").await, in_use);
    fixture.delete(&one).await.unwrap();
    assert_eq!(fixture.delete_category("kitchen").await, in_use);
    let moved = pb::UpdateProductRequest {
        product_id: two,
        category_id: Some("garden".to_owned()),
        ..pb::UpdateProductRequest::default()
    };
    fixture.update(moved).await.unwrap();
    assert_eq!(fixture.delete_category("kitchen").await, Ok(()));
    let gone = refusal(ErrorCode::NotFound, "CATEGORY_NOT_FOUND");
    assert_eq!(fixture.delete_category("kitchen").await, gone);
    assert_eq!(fixture.delete_category("garden").await, in_use);
}

#[tokio::test]
async fn a_category_that_goes_while_a_product_comes_leaves_none_without_one() {
    let fixture = Fixture::new().await;
    for number in 0..10 {
        let id = format!("category-{number}");
        fixture.make_category(&id, &id).await;
        let product = pb::CreateProductRequest {
            category_id: id.clone(),
            ..mug(&format!("sku-{number}"))
        };
        let (created, deleted) = join(fixture.create(product), fixture.delete_category(&id)).await;
        match (&created, &deleted) {
            (Ok(_), Err((_, reason))) => assert_eq!(reason, "CATEGORY_IN_USE"),
            (Err((_, reason)), Ok(())) => assert_eq!(reason, "CATEGORY_NOT_FOUND"),
            both => panic!("{both:?}"),
        }
    }
}
