use std::sync::Arc;
use std::time::Duration;

use palinode_db::Db;
use palinode_messaging::{BatchHandler, commands_of, events_of};
use palinode_outbox::Doorbell;
use palinode_participant::{Handler, Inbox, Participant};
use palinode_pb::inventory::v1::inventory_service_server::{
    InventoryService, InventoryServiceServer,
};
use palinode_rpc::Door;
use palinode_service::Context;
use palinode_telemetry::Tracer;
use palinode_values::Clock;

use crate::app::grant;
use crate::consumers::{Commands, Products};
use crate::rpc::Rpc;

const NAME: &str = "inventory";
/// The group that reads what becomes of products. Another one than that of commands: neither waits for
/// the other.
const PRODUCTS_GROUP: &str = "inventory-products";
/// Between two looks at the queue while somebody waits.
const BUSY: Duration = Duration::from_millis(20);
/// While nobody does: so long the first one waits more than it has to.
const IDLE: Duration = Duration::from_millis(200);
/// After a failure of the database.
const TROUBLED: Duration = Duration::from_secs(1);

/// Puts inventory together and starts it.
///
/// # Errors
/// A client of Kafka cannot be made.
pub async fn build(context: Context) -> anyhow::Result<()> {
    let db = context.db().clone();
    let (bell, tracer, clock) = (
        context.doorbell.clone(),
        context.tracer.clone(),
        context.clock.clone(),
    );
    let commands = commands_of(NAME).expect("inventory is in the table of topics");
    context.consume(
        NAME,
        &[commands],
        participant(db.clone(), bell.clone(), tracer, clock.clone()),
    )?;
    let events = events_of("catalog").expect("catalog has a topic of events");
    context.consume(PRODUCTS_GROUP, &[events], products(db.clone()))?;
    context.spawn_relay()?;
    let (granter, stop) = (granter(db.clone(), clock, bell), context.tasks.stop_token());
    context.spawn("granter", async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = granter => {}
        }
        Ok(())
    });
    let server = context
        .grpc(Door::Authorized(context.authorizer()?))
        .add_service(InventoryServiceServer::new(rpc(db)));
    context.serve_grpc(server);
    Ok(())
}

/// What handles the commands of sagas.
pub fn participant(
    db: Db,
    doorbell: Doorbell,
    tracer: Tracer,
    clock: Clock,
) -> Participant<impl Handler> {
    Participant::new(NAME, db, Arc::new(Commands), doorbell, tracer, clock)
}

/// What takes the events of the catalogue.
pub fn products(db: Db) -> impl BatchHandler {
    Inbox::new(db, Products)
}

/// Looks at the queue of reservations again and again: often while somebody waits.
async fn granter(db: Db, clock: Clock, doorbell: Doorbell) {
    let mut pause = IDLE;
    loop {
        tokio::time::sleep(pause).await;
        pause = match grant(&db, &clock).await {
            Ok(granted) => {
                if granted.decided > 0 {
                    doorbell.ring();
                }
                if granted.waiting > 0 { BUSY } else { IDLE }
            }
            Err(error) => {
                tracing::warn!(%error, "the queue of reservations cannot be read");
                TROUBLED
            }
        };
    }
}

/// What answers requests.
pub fn rpc(db: Db) -> impl InventoryService {
    Rpc { db }
}
