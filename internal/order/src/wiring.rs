//! The one place that puts the order service's parts together.

use std::sync::Arc;
use std::time::Duration;

use palinode_db::{Db, purge};
use palinode_messaging::{commands_of, events_of};
use palinode_outbox::Doorbell;
use palinode_participant::{Inbox, Participant};
use palinode_pb::order::v1::cart_service_server::CartServiceServer;
use palinode_pb::order::v1::order_service_server::{OrderService, OrderServiceServer};
use palinode_pb::order::v1::quote_service_server::QuoteServiceServer;
use palinode_rpc::{Credentials, Door};
use palinode_service::Context;
use palinode_telemetry::Tracer;
use palinode_values::Clock;
use tokio_util::sync::CancellationToken;

use crate::app::Desk;
use crate::app::counter::counter;
use crate::app::forget::Forgetting;
use crate::app::sweep::Sweep;
use crate::app::watch::Watchers;
use crate::clients::Orchestrator;
use crate::consumers::{Commands, Products, Users};
use crate::rpc::{Answers, Carts, Orders, Quotes};
use crate::store;

/// A call that is repeated later is another call.
pub(crate) const KEYS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Of one statement.
const KEYS_MAX: i64 = 1_000;

/// The group that reads what becomes of users.
const USERS_GROUP: &str = "order-users";
/// The group that reads what becomes of products.
const PRODUCTS_GROUP: &str = "order-products";

/// Starts the order service: gRPC, consumers, sweep and relay.
///
/// # Errors
/// Kafka refuses, or the relay cannot be started.
pub async fn build(context: Context) -> anyhow::Result<()> {
    let (db, clock) = (context.db().clone(), context.clock.clone());
    let doorbell = context.doorbell.clone();
    let participant = Participant::new(
        "order",
        db.clone(),
        Arc::new(Commands),
        doorbell.clone(),
        context.tracer.clone(),
        clock.clone(),
    );
    let topic = commands_of("order").expect("the table of topics has the order service");
    context.consume("order", &[topic], participant)?;
    follow_users(&context)?;
    follow_products(&context)?;
    forget_keys(&context);
    purge_quotes(&context);
    let orchestrator = Orchestrator::new(
        palinode_rpc::channel(&context.peers().orchestrator),
        context.credentials()?,
    );
    let desk = Desk {
        db: db.with_fixed_plans(),
        clock,
        doorbell,
        tracer: context.tracer.clone(),
        prefix: context.kafka.prefix.clone(),
    };
    let sweep = Sweep {
        desk: desk.clone(),
        orchestrator: orchestrator.clone(),
    };
    let stop = context.tasks.stop_token();
    context.spawn("sweep", async move {
        sweep.run(stop).await;
        Ok(())
    });
    context.spawn_relay()?;
    let (counter, clerk) = counter();
    let (clerks, stop) = (desk.clone(), context.tasks.stop_token());
    context.spawn("clerk", async move {
        clerk.run(clerks, stop).await;
        Ok(())
    });
    let watchers = Watchers::default();
    let (listening, kafka) = (watchers.clone(), context.kafka.clone());
    let stop = context.tasks.stop_token();
    context.spawn("watchers", async move {
        listening.listen(kafka, stop).await;
        Ok(())
    });
    let answers = Answers::new(desk.db.clone(), watchers);
    let carts = Carts {
        desk: desk.clone(),
        answers: answers.clone(),
    };
    let quotes = Quotes { desk: desk.clone() };
    let orders = Orders {
        desk,
        counter,
        orchestrator,
        answers,
    };
    context.serve_grpc(
        context
            .grpc(Door::Authorized(context.authorizer()?))
            .add_service(OrderServiceServer::new(orders))
            .add_service(CartServiceServer::new(carts))
            .add_service(QuoteServiceServer::new(quotes)),
    );
    Ok(())
}

/// Forgets idempotency keys that nobody sends again.
fn forget_keys(context: &Context) {
    let (db, stop) = (context.db().clone(), context.tasks.stop_token());
    context.spawn("keys", async move {
        let step = || store::order::forget_keys(&db, KEYS_KEPT, KEYS_MAX);
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            never = purge("idempotency keys", KEYS_MAX.unsigned_abs(), step) => match never {},
        }
    });
}

/// Removes quotes some time after they have expired: as long as keys stand for them.
fn purge_quotes(context: &Context) {
    let (db, clock) = (context.db().clone(), context.clock.clone());
    let stop = context.tasks.stop_token();
    context.spawn("quotes", async move {
        let step = || store::quote::purge(&db, clock.now() - KEYS_KEPT, KEYS_MAX);
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            never = purge("quotes", KEYS_MAX.unsigned_abs(), step) => match never {},
        }
    });
}

/// Hears who was deleted, and lets go of what orders keep of him.
fn follow_users(context: &Context) -> anyhow::Result<()> {
    let db = context.db();
    let topic = events_of("identity").expect("the table of topics has the identity service");
    context.consume(USERS_GROUP, &[topic], Inbox::new(db.clone(), Users))?;
    let forgetting = Forgetting { db: db.clone() };
    let stop = context.tasks.stop_token();
    context.spawn("forgetting", async move {
        forgetting.run(stop).await;
        Ok(())
    });
    Ok(())
}

/// Hears what can be ordered, and at which price.
fn follow_products(context: &Context) -> anyhow::Result<()> {
    let topic = events_of("catalog").expect("the table of topics has the catalog service");
    let inbox = Inbox::new(context.db().clone(), Products);
    context.consume(PRODUCTS_GROUP, &[topic], inbox)?;
    Ok(())
}

/// What answers requests, and the clerk that has to run beside it.
pub fn rpc(
    db: Db,
    doorbell: Doorbell,
    tracer: Tracer,
    clock: Clock,
) -> (impl OrderService, impl Future<Output = ()>) {
    let desk = Desk {
        db: db.with_fixed_plans(),
        clock,
        doorbell,
        tracer,
        prefix: "palinode".to_owned(),
    };
    let (counter, clerk) = counter();
    let nobody = "127.0.0.1:1".parse().expect("an address");
    let orders = Orders {
        desk: desk.clone(),
        counter,
        orchestrator: Orchestrator::new(palinode_rpc::channel(&nobody), Credentials::default()),
        answers: Answers::new(desk.db.clone(), Watchers::default()),
    };
    (orders, clerk.run(desk, CancellationToken::new()))
}
