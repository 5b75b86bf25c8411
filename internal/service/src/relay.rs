use std::time::Duration;

use anyhow::Context as _;
use palinode_db::{Db, Options};
use palinode_outbox::Doorbell;
use palinode_relay::{CONNECTIONS, Relay, Source};
use palinode_rpc::Door;

use crate::config::ConfigError;
use crate::context::Context;

/// Beside its service a relay hears a bell: it looks by itself only for the rows of other
/// instances, whose lanes it has leased.
const POLL_PAUSE_MAX: Duration = Duration::from_millis(100);

/// The relay as a service of its own, over the databases that the settings name. Its gRPC server
/// has nothing but health and reflection.
///
/// # Errors
/// The producer cannot be made; a database does not answer.
pub async fn build(context: Context) -> anyhow::Result<()> {
    let mut sources = Vec::new();
    for (name, url) in context.config.relay_databases()? {
        let db = connect(&name, url).await.with_context(|| {
            format!(
                "the database of {name} cannot be used: does PostgreSQL run there, and has \
                 `palinode migrate` been run?"
            )
        })?;
        palinode_outbox::require_topics(&db, &context.kafka.prefix)
            .await
            .with_context(|| {
                format!(
                    "the outbox of {name} is not ready: run `palinode migrate` with this topic \
                     prefix"
                )
            })?;
        sources.push(Source {
            name,
            db,
            doorbell: Doorbell::new(),
        });
    }
    let relay = relay_of(&context, sources)?;
    for mut status in relay.status() {
        let name = status.borrow().name.clone();
        let working = context.readiness.require(format!("relay of {name}"));
        let stop = context.tasks.stop_token();
        context.spawn(&format!("health of {name}"), async move {
            loop {
                let works = {
                    let status = status.borrow_and_update();
                    status.database && status.broker
                };
                working.set(works);
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    // when the relay is gone, its own task says so
                    changed = status.changed() => if changed.is_err() {
                        stop.cancelled().await;
                    },
                }
            }
        });
    }
    run(&context, relay);
    // health and reflection alone
    context.serve_grpc(context.grpc(Door::Open));
    Ok(())
}

/// The relay of a service's own database, in its process. It works on a pool of its own: a burst
/// of requests must not take its connections.
pub(crate) fn spawn_for(context: &Context) -> anyhow::Result<()> {
    let name = context.spec.name;
    let area = context.spec.area.ok_or(ConfigError::NoDatabase(name))?;
    let url = context
        .config
        .database_url
        .as_ref()
        .ok_or(ConfigError::NoDatabase(name))?
        .of(area);
    let (stop, doorbell) = (context.tasks.stop_token(), context.doorbell.clone());
    let producer = context.shared.producer(&context.kafka)?;
    let (tracer, clock) = (context.tracer.clone(), context.clock.clone());
    let meter = context.meter.clone();
    context.spawn("relay", async move {
        let db = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            db = connect(name, url) => db?, // the service has just reached it
        };
        let source = Source {
            name: name.to_owned(),
            db: db.clone(),
            doorbell,
        };
        let options = palinode_relay::Options {
            poll_pause_max: POLL_PAUSE_MAX,
            rung: true,
            ..palinode_relay::Options::default()
        };
        let relay = Relay::new(options, vec![source], producer, tracer, clock).measured_by(&meter);
        relay.run(stop).await;
        db.close().await;
        Ok(())
    });
    Ok(())
}

fn relay_of(context: &Context, sources: Vec<Source>) -> anyhow::Result<Relay> {
    let producer = context.shared.producer(&context.kafka)?;
    let options = palinode_relay::Options::default();
    let (tracer, clock) = (context.tracer.clone(), context.clock.clone());
    Ok(Relay::new(options, sources, producer, tracer, clock).measured_by(&context.meter))
}

fn run(context: &Context, relay: Relay) {
    let stop = context.tasks.stop_token();
    context.spawn("relay", async move {
        relay.run(stop).await;
        Ok(())
    });
}

async fn connect(name: &str, url: String) -> Result<Db, palinode_db::Error> {
    let service = format!("relay-{name}");
    Db::connect(&Options {
        url,
        service,
        connections_max: CONNECTIONS,
    })
    .await
}
