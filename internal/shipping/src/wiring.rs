use std::sync::Arc;

use palinode_db::Db;
use palinode_messaging::commands_of;
use palinode_outbox::Doorbell;
use palinode_participant::{Handler, Participant};
use palinode_pb::shipping::v1::shipping_service_server::{ShippingService, ShippingServiceServer};
use palinode_rpc::Door;
use palinode_service::Context;
use palinode_telemetry::Tracer;
use palinode_values::Clock;

use crate::app::Desk;
use crate::consumers::Commands;
use crate::rpc::Rpc;

const NAME: &str = "shipping";

/// Puts shipping together and starts it.
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
    let commands = commands_of(NAME).expect("shipping is in the table of topics");
    context.consume(
        NAME,
        &[commands],
        participant(db.clone(), bell.clone(), tracer, clock.clone()),
    )?;
    context.spawn_relay()?;
    let server = context
        .grpc(Door::Authorized(context.authorizer()?))
        .add_service(ShippingServiceServer::new(rpc(db, bell, clock)));
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
    let handler = Arc::new(Commands::default());
    Participant::new(NAME, db, handler, doorbell, tracer, clock)
}

/// What answers requests.
pub fn rpc(db: Db, doorbell: Doorbell, clock: Clock) -> impl ShippingService {
    let desk = Desk {
        db,
        clock,
        doorbell,
    };
    Rpc { desk }
}
