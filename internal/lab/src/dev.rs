//! `palinode dev`: the whole platform in one process.

use std::io::{self, Write};
use std::path::PathBuf;

use palinode_service::PlanVersion;
use palinode_testkit::Progress;

use crate::backing::{Backing, BackingOptions, KafkaChoice};
use crate::prepare::migrate;
use crate::seed;
use crate::signals::Signals;
use crate::stack::{GatewayPort, Ports, Stack, StackOptions, Tracing, require_free};

/// What `palinode dev` was asked for.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// Where the gateway listens.
    pub port: GatewayPort,
    /// Keeps the databases; `None`: thrown away.
    pub data_dir: Option<PathBuf>,
    /// A Kafka that runs already.
    pub kafka: Option<String>,
    /// A PostgreSQL server that runs already.
    pub database_url: Option<String>,
    /// What names on Kafka begin with.
    pub prefix: String,
    /// Where spans go.
    pub tracing: Tracing,
    /// Requests a second that one caller of the gateway may make; 0: any number.
    pub rate_limit: u32,
    /// Versions of plans that new sagas run.
    pub plans: Vec<PlanVersion>,
}

/// Runs until a signal, or until a service fails.
///
/// # Errors
/// Something cannot be started, or failed; says what to do.
pub async fn run(options: DevOptions) -> anyhow::Result<()> {
    if let GatewayPort::Exactly(port) = options.port {
        require_free(port)?;
    }
    let mut signals = Signals::listen()?;
    let backing = tokio::select! {
        backing = Backing::start(backing_of(&options)) => backing?,
        () = signals.next() => anyhow::bail!("stopped before it was ready"),
    };
    let outcome = tokio::select! {
        outcome = serve(&options, &backing) => outcome,
        () = signals.next() => Err(anyhow::anyhow!("stopped before it was ready")),
    };
    let outcome = match outcome {
        Ok(stack) => {
            let stopping = stack.stopping();
            let lost = tokio::select! {
                () = signals.next() => Ok(()),
                () = stopping.cancelled() => Ok(()),
                lost = backing.lost() => Err(lost),
            };
            let stopped = tokio::select! {
                stopped = stack.stop() => stopped,
                () = signals.next() => Err(anyhow::anyhow!("stopped at once, by a second signal")),
            };
            lost.and(stopped)
        }
        Err(error) => Err(error),
    };
    backing.stop().await;
    outcome
}

fn backing_of(options: &DevOptions) -> BackingOptions {
    BackingOptions {
        database_url: options.database_url.clone(),
        data_dir: options.data_dir.clone(),
        kafka: options
            .kafka
            .clone()
            .map_or(KafkaChoice::InProcess, KafkaChoice::Given),
        prefix: options.prefix.clone(),
        progress: Progress::Stderr,
    }
}

async fn serve(options: &DevOptions, backing: &Backing) -> anyhow::Result<Stack> {
    migrate(&backing.database_url, &backing.kafka, backing.partitions).await?;
    seed::seed(&backing.database_url).await?;
    let stack = Stack::start(StackOptions {
        database_url: backing.database_url.clone(),
        kafka: backing.kafka.clone(),
        ports: Ports::Usual(options.port),
        tracing: options.tracing.clone(),
        plans: options.plans.clone(),
        rate_limit: options.rate_limit,
    })
    .await?;
    // nobody may be reading: that is no reason to stop
    announce(&mut io::stdout().lock(), backing, &stack).ok();
    Ok(stack)
}

fn announce(out: &mut impl Write, backing: &Backing, stack: &Stack) -> io::Result<()> {
    let url = stack.url();
    writeln!(out, "PostgreSQL     {}", backing.postgres_is)?;
    writeln!(out, "Kafka          {}", backing.kafka_is)?;
    for (name, address) in stack.addresses() {
        let speaks = if *name == "gateway" { "http" } else { "grpc" };
        writeln!(out, "{name:<14} {speaks}://{address}")?;
    }
    writeln!(out, "\nTo order, and to look at what became of it:\n")?;
    write_try(out, &url)?;
    writeln!(out, "\nready {url}")?;
    out.flush()
}

/// Commands that place an order and show it.
pub(crate) fn write_try(out: &mut impl Write, url: &str) -> io::Result<()> {
    // as it was called, because it need not be on the path
    let program = std::env::args().next();
    let program = program.as_deref().unwrap_or("palinode");
    let (buyer, operator) = ("alice", "operator");
    let (password, operators) = (seed::password(buyer), seed::password(operator));
    writeln!(
        out,
        r#"  TOKEN=$(curl -s {url}/v1/sessions -H 'content-type: application/json' \
    -d '{{"login": "{buyer}", "password": "{password}"}}' | sed 's/.*"accessToken":"\([^"]*\)".*/\1/')
  curl -s {url}/v1/orders -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \
    -H "idempotency-key: $(date +%s)" -H 'prefer: wait=10' -d '{{
    "lines": [{{"sku": "mug-blue", "quantity": 2}}],
    "address": {{"name": "Alice", "street": "Hauptstr. 1", "postalCode": "10115", "city": "Berlin", "country": "DE"}},
    "paymentMethod": {{"wallet": {{}}}}
  }}'
  curl -s {url}/v1/orders -H "authorization: Bearer $TOKEN"
  echo {operators} | {program} sign-in {operator} --server {url}
  {program} saga list --server {url}"#
    )
}
