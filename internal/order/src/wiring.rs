//! The one place that puts the order service's parts together.

use std::sync::Arc;
use std::time::Duration;

use palinode_db::{Db, purge};
use palinode_messaging::{commands_of, events_of};
use palinode_outbox::Doorbell;
use palinode_participant::{Inbox, Participant};
use palinode_pb::order::v1::order_service_server::{OrderService, OrderServiceServer};
use palinode_rpc::{Credentials, Door};
use palinode_service::Context;
use palinode_telemetry::Tracer;
use palinode_values::Clock;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::app::Desk;
use crate::app::counter::counter;
use crate::app::forget::Forgetting;
use crate::app::sweep::Sweep;
use crate::app::watch::Watchers;
use crate::clients::Orchestrator;
use crate::consumers::{Commands, Users};
use crate::rpc::{Orders, WAITING_MAX};
use crate::store;

/// A call that is repeated later is another call.
pub(crate) const KEYS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Of one statement.
const KEYS_MAX: i64 = 1_000;

/// The group that reads what becomes of users.
const USERS_GROUP: &str = "order-users";

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
    forget_keys(&context);
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
    let orders = Orders {
        desk,
        counter,
        orchestrator,
        watchers,
        waiting: Semaphore::new(WAITING_MAX),
    };
    context.serve_grpc(
        context
            .grpc(Door::Authorized(context.authorizer()?))
            .add_service(OrderServiceServer::new(orders)),
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
        watchers: Watchers::default(),
        waiting: Semaphore::new(WAITING_MAX),
    };
    (orders, clerk.run(desk, CancellationToken::new()))
}
