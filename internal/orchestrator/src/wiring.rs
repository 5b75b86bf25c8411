//! The one place that puts the orchestrator's parts together.

use anyhow::Context as _;
use palinode_messaging::Topic;
use palinode_outbox::Doorbell;
use palinode_pb::saga::v1::saga_service_server::SagaServiceServer;
use palinode_pb::saga::v1::starter_service_server::StarterServiceServer;
use palinode_rpc::Door;
use palinode_service::Context;

use crate::plans;
use crate::rpc::Sagas;
use crate::rpc::starters::Starters;
use crate::runner::breaker::{Breakers, Limits};
use crate::runner::consumer::InputsHandler;
use crate::runner::recent::Recent;
use crate::runner::registry::Registry;
use crate::runner::timers::Soon;
use crate::runner::{Engine, breaker, bulk, retention, timers};

/// Starts the orchestrator: consumer, timers, relay and gRPC.
///
/// # Errors
/// A plan that is not well-formed, or was edited after its release; Kafka or the database refuse.
pub async fn build(context: Context) -> anyhow::Result<()> {
    let release = plans::all().context("a plan of this release is not well-formed")?;
    let registry = Registry::open(context.db(), release).await?;
    let mut versions = plans::current();
    versions.extend(
        context
            .config
            .plans
            .iter()
            .map(|plan| (plan.name.clone(), plan.version)),
    );
    registry.choose(&versions)?;
    let engine = Engine {
        db: context.db().clone(),
        registry,
        breakers: Breakers::new(Limits::default()),
        recent: Recent::default(),
        soon: Soon::default(),
        bulks: Doorbell::new(),
        set: Doorbell::new(),
        doorbell: context.doorbell.clone(),
        tracer: context.tracer.clone(),
        prefix: context.kafka.prefix.as_str().into(),
        clock: context.clock.clone(),
    };
    // which breakers are open is known before anything is sent
    breaker::step(&engine).await?;
    let handler = InputsHandler::new(engine.clone());
    let topics = [Topic::ORCHESTRATOR_COMMANDS, Topic::ORCHESTRATOR_REPLIES];
    context.consume("orchestrator", &topics, handler)?;
    let (waking, stop) = (engine.clone(), context.tasks.stop_token());
    context.spawn("timers", async move {
        timers::run(waking, stop).await;
        Ok(())
    });
    let (keeping, stop) = (engine.clone(), context.tasks.stop_token());
    context.spawn("breakers", async move {
        breaker::run(keeping, stop).await;
        Ok(())
    });
    let (working, stop) = (engine.clone(), context.tasks.stop_token());
    context.spawn("bulks", async move {
        bulk::work(working, stop).await;
        Ok(())
    });
    let (deleting, stop) = (engine.clone(), context.tasks.stop_token());
    context.spawn("retention", async move {
        retention::run(deleting, stop).await;
        Ok(())
    });
    context.spawn_relay()?;
    let server = context
        .grpc(Door::Authorized(context.authorizer()?))
        .add_service(StarterServiceServer::new(Starters {
            engine: engine.clone(),
        }))
        .add_service(SagaServiceServer::new(Sagas { engine }));
    context.serve_grpc(server);
    Ok(())
}
