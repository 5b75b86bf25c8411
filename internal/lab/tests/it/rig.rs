use std::time::Duration;

use palinode_db::Area;
use palinode_lab::{
    Backing, BackingOptions, Gateway, KafkaChoice, Ports, Stack, StackOptions, Tracing, migrate,
    seed,
};
use palinode_telemetry::InMemorySpanExporter;
use palinode_testkit::database::with_database;
use palinode_testkit::{Progress, eventually};
use serde_json::{Value as Json, json};
use sqlx::{Connection, PgConnection};

const LIMIT: Duration = Duration::from_secs(60);

/// A stack of its own in this process, with its spans in memory.
pub(crate) struct Rig {
    pub(crate) backing: Backing,
    pub(crate) gateway: Gateway,
    pub(crate) spans: InMemorySpanExporter,
    stack: Stack,
}

impl Rig {
    /// Starts everything; `prepare` sees the migrated databases before any service does.
    pub(crate) async fn start(prepare: impl AsyncFnOnce(&Backing)) -> Rig {
        Self::running(&[], prepare).await
    }

    /// Like [`Rig::start`]; new sagas run these versions of their plans.
    pub(crate) async fn running(plans: &[&str], prepare: impl AsyncFnOnce(&Backing)) -> Rig {
        let options = BackingOptions {
            database_url: None,
            data_dir: None,
            kafka: KafkaChoice::InProcess,
            prefix: "test".to_owned(),
            progress: Progress::Stderr,
        };
        let backing = Backing::start(options).await.unwrap();
        migrate(&backing.database_url, &backing.kafka, backing.partitions)
            .await
            .unwrap();
        prepare(&backing).await;
        seed::seed(&backing.database_url).await.unwrap();
        let spans = InMemorySpanExporter::default();
        let stack = Stack::start(StackOptions {
            database_url: backing.database_url.clone(),
            kafka: backing.kafka.clone(),
            ports: Ports::Free,
            tracing: Tracing::Memory(spans.clone()),
            plans: plans.iter().map(|plan| plan.parse().unwrap()).collect(),
            rate_limit: 0,
        })
        .await
        .unwrap();
        Rig {
            gateway: Gateway::of_stack(&stack.url(), &backing.database_url)
                .await
                .unwrap(),
            backing,
            spans,
            stack,
        }
    }

    /// Stops the services; PostgreSQL and Kafka stay.
    pub(crate) async fn stop_services(self) -> Backing {
        self.stack.stop().await.unwrap();
        self.backing
    }

    /// Where a service listens.
    pub(crate) fn address(&self, service: &str) -> String {
        let mut addresses = self.stack.addresses().iter();
        let (_, address) = addresses.find(|(name, _)| *name == service).unwrap();
        address.to_string()
    }

    pub(crate) async fn connect(&self, area: Area) -> PgConnection {
        connect(&self.backing, area).await
    }

    /// Waits until the order is decided, and gives it.
    pub(crate) async fn decided(&self, order: &str) -> Json {
        eventually(LIMIT, "the order is decided", async || {
            let answer = self.gateway.get(&format!("/v1/orders/{order}")).await;
            let order = answer.unwrap().success().unwrap();
            (order["status"] != "ORDER_STATUS_PENDING").then_some(order)
        })
        .await
    }

    /// Waits until the saga that placed an order is over, which is a little after it is decided.
    pub(crate) async fn over(&self, order: &Json) {
        let path = format!("/v1/sagas/{}", order["sagaId"].as_str().unwrap());
        eventually(LIMIT, "the saga is over", async || {
            let saga = self.gateway.get(&path).await.unwrap().success().unwrap();
            let state = saga["state"].as_str().unwrap();
            ["SAGA_STATE_COMPLETED", "SAGA_STATE_COMPENSATED"]
                .contains(&state)
                .then_some(())
        })
        .await;
    }

    /// Asks for a cancellation until the saga that placed the order is over.
    pub(crate) async fn cancel(&self, order: &Json) -> Json {
        let path = format!("/v1/orders/{}:cancel", order["orderId"].as_str().unwrap());
        eventually(LIMIT, "the cancellation is taken", async || {
            let customer = self.gateway.user(order["userId"].as_str().unwrap());
            let answer = customer.post(&path, &json!({}), None).await.unwrap();
            if answer.status.is_success() {
                return Some(answer.success().unwrap());
            }
            assert_eq!(answer.json()["reason"], "NOT_YET", "{:#}", answer.json());
            None
        })
        .await
    }

    /// Waits until no cancellation of the order is under way any more, and gives it.
    pub(crate) async fn settled(&self, order: &Json) -> Json {
        let path = format!("/v1/orders/{}", order["orderId"].as_str().unwrap());
        eventually(LIMIT, "the cancellation is decided", async || {
            let order = self.gateway.get(&path).await.unwrap().success().unwrap();
            (order["status"] != "ORDER_STATUS_CANCELLING").then_some(order)
        })
        .await
    }
}

pub(crate) async fn connect(backing: &Backing, area: Area) -> PgConnection {
    let url = with_database(&backing.database_url, &area.database());
    PgConnection::connect(&url).await.unwrap()
}

/// An order over two blue mugs, 25.80 EUR.
pub(crate) fn mugs(user: &str, country: &str, payment: Json) -> Json {
    json!({
        "userId": user,
        "lines": [{"sku": "mug-blue", "quantity": 2}],
        "address": {"name": "Ada", "street": "Hauptstr. 1", "postalCode": "10115",
                    "city": "Berlin", "country": country},
        "paymentMethod": payment,
    })
}

pub(crate) fn wallet() -> Json {
    json!({"wallet": {}})
}

pub(crate) fn card() -> Json {
    json!({"card": {"token": "tok_visa"}})
}
