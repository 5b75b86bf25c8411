use std::sync::Arc;
use std::time::Duration;

use palinode_db::{Db, purge};
use palinode_messaging::{BatchHandler, commands_of, events_of};
use palinode_outbox::Doorbell;
use palinode_participant::{Inbox, Participant};
use palinode_pb::payment::v1::payment_service_server::PaymentServiceServer;
use palinode_rpc::{Door, channel};
use palinode_service::Context;
use palinode_telemetry::Tracer;
use palinode_values::Clock;
use tokio::sync::Notify;

use crate::app::{Desk, SERVICE};
use crate::calls::{CardCalls, Parts};
use crate::clients::Processor;
use crate::config;
use crate::consumers::{CommandBatches, Commands, Users};
use crate::rpc::Handlers;
use crate::store::{credits, refunds};

/// A credit or a refund that is repeated later is another one.
const KEYS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Of one statement.
const KEYS_MAX: i64 = 1_000;
/// The group that reads what becomes of users. Another one than that of commands: neither waits for the
/// other.
const USERS_GROUP: &str = "payment-users";

/// Serves wallets and payments, takes commands, and calls the card processor.
///
/// # Errors
/// Kafka's client cannot be made.
pub async fn build(context: Context) -> anyhow::Result<()> {
    let bell = Arc::new(Notify::new());
    let limits = config::CardCalls::default();

    let handlers = Handlers::new(Desk {
        db: context.db().clone(),
        clock: context.clock.clone(),
        bell: Arc::clone(&bell),
        doorbell: context.doorbell.clone(),
    });
    let server = context
        .grpc(Door::Authorized(context.authorizer()?))
        .add_service(PaymentServiceServer::new(handlers));
    context.serve_grpc(server);

    let batches = batches(
        context.db().clone(),
        context.doorbell.clone(),
        context.tracer.clone(),
        context.clock.clone(),
        Arc::clone(&bell),
    );
    let topic = commands_of(SERVICE).expect("payment has a topic of commands");
    context.consume(SERVICE, &[topic], batches)?;
    let users = Users {
        clock: context.clock.clone(),
    };
    let topic = events_of("identity").expect("identity has a topic of events");
    let users = Inbox::new(context.db().clone(), users);
    context.consume(USERS_GROUP, &[topic], users)?;

    let calls = CardCalls::new(Parts {
        db: context.db().with_fixed_plans(),
        processor: Processor::new(channel(&context.peers().cardprocessor), limits.call_limit),
        clock: context.clock.clone(),
        bell,
        doorbell: context.doorbell.clone(),
        limits,
    });
    let (db, stop) = (context.db().clone(), context.tasks.stop_token());
    context.spawn("keys", async move {
        let step = async || {
            let credits = credits::forget_keys(&db, KEYS_KEPT, KEYS_MAX).await?;
            let refunds = refunds::forget_keys(&db, KEYS_KEPT, KEYS_MAX).await?;
            Ok(credits.max(refunds))
        };
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            never = purge("idempotency keys", KEYS_MAX.unsigned_abs(), step) => match never {},
        }
    });
    let stop = context.tasks.stop_token();
    context.spawn("card calls", async move {
        calls.run(stop).await;
        Ok(())
    });
    context.spawn_relay()
}

/// What handles the commands of sagas; the calls to the card processor are left to others.
pub fn participant(db: Db, doorbell: Doorbell, tracer: Tracer, clock: Clock) -> impl BatchHandler {
    batches(db, doorbell, tracer, clock, Arc::new(Notify::new()))
}

fn batches(
    db: Db,
    doorbell: Doorbell,
    tracer: Tracer,
    clock: Clock,
    bell: Arc<Notify>,
) -> CommandBatches {
    let commands = Arc::new(Commands::new(clock.clone()));
    let handler = Arc::clone(&commands);
    let participant = Participant::new(SERVICE, db, handler, doorbell, tracer, clock);
    CommandBatches::new(participant, commands, bell)
}
