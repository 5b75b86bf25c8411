use std::sync::Arc;

use palinode_messaging::commands_of;
use palinode_participant::Participant;
use palinode_pb::payment::v1::payment_service_server::PaymentServiceServer;
use palinode_rpc::channel;
use palinode_service::Context;
use tokio::sync::Notify;

use crate::calls::{CardCalls, Parts};
use crate::clients::Processor;
use crate::config;
use crate::consumers::{CommandBatches, Commands};
use crate::rpc::Handlers;

const SERVICE: &str = "payment";

/// Serves wallets and payments, takes commands, and calls the card processor.
///
/// # Errors
/// Kafka's client cannot be made.
pub async fn build(context: Context) -> anyhow::Result<()> {
    let bell = Arc::new(Notify::new());
    let limits = config::CardCalls::default();

    let handlers = Handlers::new(context.db().clone(), context.clock.clone());
    let server = context
        .grpc()
        .add_service(PaymentServiceServer::new(handlers));
    context.serve_grpc(server);

    let commands = Arc::new(Commands::new(context.clock.clone()));
    let participant = Participant::new(
        SERVICE,
        context.db().clone(),
        Arc::clone(&commands),
        context.doorbell.clone(),
        context.tracer.clone(),
        context.clock.clone(),
    );
    let topic = commands_of(SERVICE).expect("payment has a topic of commands");
    let batches = CommandBatches::new(participant, commands, Arc::clone(&bell));
    context.consume(SERVICE, &[topic], batches)?;

    let calls = CardCalls::new(Parts {
        db: context.db().clone(),
        processor: Processor::new(channel(&context.peers().cardprocessor), limits.call_limit),
        clock: context.clock.clone(),
        bell,
        doorbell: context.doorbell.clone(),
        limits,
    });
    let stop = context.tasks.stop_token();
    context.spawn("card calls", async move {
        calls.run(stop).await;
        Ok(())
    });
    context.spawn_relay()
}
