use std::time::Duration;

use palinode_auth::{Caller, Principal, Role};
use palinode_db::{Area, Db};
use palinode_messaging::Headers;
use palinode_outbox::Doorbell;
use palinode_pb::catalog::v1 as pb;
use palinode_pb::catalog::v1::catalog_service_server::CatalogService;
use palinode_pb::google::r#type::Money;
use palinode_rpc::{Failure, call_of};
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_values::{Clock, ErrorCode};
use prost::Message;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use tonic::{Code, Request, Response, Status};

use crate::app::Desk;
use crate::rpc::Handlers;

pub(super) type Refusal = (ErrorCode, String);

pub(super) struct Fixture {
    pub(super) database: TestDatabase,
    pub(super) db: Db,
    pub(super) handlers: Handlers,
}

/// An event of the outbox.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    Created(pb::ProductCreated),
    Updated(pb::ProductUpdated),
    Deleted(pb::ProductDeleted),
}

impl Fixture {
    /// With the categories `kitchen` and `garden`.
    pub(super) async fn new() -> Self {
        let database = test_database(Area::Catalog).await;
        let db = database.db().await;
        let desk = Desk {
            db: db.clone(),
            clock: Clock::system(),
            doorbell: Doorbell::new(),
        };
        let fixture = Self {
            database,
            db,
            handlers: Handlers { desk },
        };
        for id in ["kitchen", "garden"] {
            fixture.make_category(id, id).await;
        }
        fixture
    }

    pub(super) async fn make_category(&self, id: &str, name: &str) -> pb::Category {
        let message = pb::CreateCategoryRequest {
            category_id: id.to_owned(),
            name: name.to_owned(),
        };
        let answer = self.handlers.create_category(Request::new(message)).await;
        told(answer).unwrap().category.unwrap()
    }

    pub(super) async fn create(
        &self,
        message: pb::CreateProductRequest,
    ) -> Result<pb::Product, Refusal> {
        self.create_with(message, None).await
    }

    pub(super) async fn create_with(
        &self,
        message: pb::CreateProductRequest,
        key: Option<&str>,
    ) -> Result<pb::Product, Refusal> {
        let mut request = by_admin("root", message);
        if let Some(key) = key {
            let key = key.parse().unwrap();
            request.metadata_mut().insert("idempotency-key", key);
        }
        let answer = self.handlers.create_product(request).await;
        told(answer).map(|answer| answer.product.unwrap())
    }

    pub(super) async fn update(
        &self,
        message: pb::UpdateProductRequest,
    ) -> Result<pb::Product, Refusal> {
        let answer = self.handlers.update_product(Request::new(message)).await;
        told(answer).map(|answer| answer.product.unwrap())
    }

    pub(super) async fn delete(&self, product_id: &str) -> Result<(), Refusal> {
        let message = pb::DeleteProductRequest {
            product_id: product_id.to_owned(),
        };
        let answer = self.handlers.delete_product(Request::new(message)).await;
        told(answer).map(drop)
    }

    pub(super) async fn get(&self, product_id: &str) -> Result<pb::Product, Refusal> {
        let message = pb::GetProductRequest {
            product_id: product_id.to_owned(),
        };
        let answer = self.handlers.get_product(Request::new(message)).await;
        told(answer).map(|answer| answer.product.unwrap())
    }

    pub(super) async fn list(
        &self,
        message: pb::ListProductsRequest,
    ) -> Result<pb::ListProductsResponse, Refusal> {
        told(self.handlers.list_products(Request::new(message)).await)
    }

    /// SKUs of the first page.
    pub(super) async fn skus(&self, message: pb::ListProductsRequest) -> Vec<String> {
        let page = self.list(message).await.unwrap();
        page.products.into_iter().map(|p| p.sku).collect()
    }

    /// What is in the outbox, in its order; each under the key of its product.
    pub(super) async fn events(&self) -> Vec<Event> {
        let rows = self
            .rows("SELECT headers, payload, convert_from(key, 'UTF8') FROM outbox ORDER BY id")
            .await;
        rows.iter().map(event).collect()
    }

    pub(super) async fn change(&self, sql: &str) {
        self.rows(sql).await;
    }

    pub(super) async fn count(&self, sql: &str) -> i64 {
        self.rows(sql).await[0].get(0)
    }

    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    pub(super) async fn rows(&self, sql: &str) -> Vec<PgRow> {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut self.database.connect().await)
            .await
            .unwrap()
    }
}

fn event(row: &PgRow) -> Event {
    let headers = Headers::decode(row.get::<Vec<u8>, _>(0)).unwrap();
    let body: Vec<u8> = row.get(1);
    let kind = headers.text("ce_type").unwrap();
    let (event, id) = match kind.rsplit('.').next().unwrap() {
        "ProductCreated" => {
            let event = pb::ProductCreated::decode(body.as_slice()).unwrap();
            let id = event.product.clone().unwrap().product_id;
            (Event::Created(event), id)
        }
        "ProductUpdated" => {
            let event = pb::ProductUpdated::decode(body.as_slice()).unwrap();
            let id = event.product.clone().unwrap().product_id;
            (Event::Updated(event), id)
        }
        "ProductDeleted" => {
            let event = pb::ProductDeleted::decode(body.as_slice()).unwrap();
            let id = event.product_id.clone();
            (Event::Deleted(event), id)
        }
        other => panic!("{other}"),
    };
    assert_eq!(row.get::<String, _>(2), id, "its key");
    event
}

/// A mug for 12.90 EUR, in the kitchen.
pub(super) fn mug(sku: &str) -> pb::CreateProductRequest {
    pb::CreateProductRequest {
        sku: sku.to_owned(),
        name: format!("Mug {sku}"),
        description: "Holds tea.".to_owned(),
        category_id: "kitchen".to_owned(),
        price: Some(eur(1_290)),
        picture_url: "/pictures/mug.webp".to_owned(),
        initial_stock: 7,
    }
}

pub(super) fn eur(minor: i64) -> Money {
    Money {
        currency_code: "EUR".to_owned(),
        units: minor / 100,
        nanos: i32::try_from(minor % 100).unwrap() * 10_000_000,
    }
}

/// A request of an administrator, as the authorizer lets it in.
pub(super) fn by_admin<T>(user: &str, message: T) -> Request<T> {
    let caller = Caller {
        principal: Principal {
            subject: user.parse().unwrap(),
            roles: vec![Role::Customer, Role::Admin],
            session: None,
            expires_at: Clock::system().now() + Duration::from_mins(15),
        },
        sees_all: true,
    };
    call_of(caller, message)
}

/// The answer, or code and reason.
pub(super) fn told<T>(answer: Result<Response<T>, Status>) -> Result<T, Refusal> {
    answer.map(Response::into_inner).map_err(|status| {
        assert_ne!(status.code(), Code::Internal, "{status:?}");
        let Failure { code, reason, .. } = Failure::from(status);
        (code, reason)
    })
}

pub(super) fn refusal<T>(code: ErrorCode, reason: &str) -> Result<T, Refusal> {
    Err((code, reason.to_owned()))
}
