//! `palinode demo`: a stream of orders, among them ones that must fail at each step, and the
//! judgement over what became of them.

mod chaos;
mod clients;
mod eyes;
mod log;
mod report;
mod workload;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use indicatif::{ProgressBar, ProgressStyle};
use palinode_messaging::{BrokerKind, delete_topics};
use palinode_testkit::Progress;
use serde_json::json;
use tokio::time::Instant;

use crate::backing::{Backing, BackingOptions, KafkaChoice};
use crate::fleet::Fleet;
use crate::gateway::Gateway;
use crate::invariants;
use crate::prepare::migrate;
use crate::seed;
use crate::stack::{Ports, Stack, StackOptions, Tracing};
use clients::Crowd;
use eyes::{Eyes, Pace, Tally};
use log::Watcher;
pub use report::{Check, CheckResult, Report};
use workload::Workload;

/// Orders that may be undecided at the same time: more wait for each other, and time out.
const OPEN_MAX: u32 = 256;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Without any change for so long, what is not decided counts as unfinished. Longer than the
/// deadline of a saga.
const STALL_LIMIT: Duration = Duration::from_secs(150);
/// After the last decision, records may still be on their way to us.
const TAIL_LIMIT: Duration = Duration::from_secs(20);
/// So often it is said how far the orders are where no bar shows it.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Which stack the orders are placed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One of its own, thrown away at the end.
    Own(KafkaChoice),
    /// One that runs; what its REST does not show is not checked.
    Server(String),
}

/// How the stack is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// All services in this process, in peace.
    Calm,
    /// Every service as a process of `program`; each is killed and started again, twice at least.
    Chaos {
        /// The executable of the tool, for `serve`.
        program: PathBuf,
    },
}

/// A demo to be run.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// How many orders.
    pub orders: u32,
    /// Decides which.
    pub seed: u64,
    /// Clients at once.
    pub clients: u32,
    /// Orders per second at the most; `None`: as they come.
    pub rate: Option<u32>,
    /// Where.
    pub target: Target,
    /// How the stack is treated.
    pub mode: Mode,
}

/// Runs a demo.
///
/// # Errors
/// The stack cannot be started, or orders cannot be placed. Violations are no error: they stand
/// in the report.
pub async fn run(options: &DemoOptions) -> anyhow::Result<Report> {
    match &options.target {
        Target::Server(server) => on_server(options, server).await,
        Target::Own(kafka) => on_own(options, kafka).await,
    }
}

async fn on_server(options: &DemoOptions, server: &str) -> anyhow::Result<Report> {
    let gateway = Gateway::of_dev(server)?;
    let run = run_id();
    fill(&gateway, &run, options.orders).await?;
    let crowd = crowd(options, gateway.clone(), run);
    let mut eyes = Eyes::rest(gateway);
    let tally = orders(options, &crowd, &mut eyes, None).await?;
    let mut checks = vec![keys_check(&crowd, None)];
    checks.extend(invariants::INVARIANTS.iter().map(|invariant| Check {
        name: invariant.name,
        holds: invariant.holds,
        result: CheckResult::Skipped("the databases of a running stack are not looked into"),
    }));
    Ok(Report::of(
        options.orders,
        tally,
        eyes.pace().await?,
        checks,
    ))
}

/// Puts money and stock into a running stack, so that only those orders fail that are to.
async fn fill(gateway: &Gateway, run: &str, orders: u32) -> anyhow::Result<()> {
    let credit = async |user: &str, units: u32, nanos: u32, key: &str| {
        let body = json!({"amount":
            {"currencyCode": "EUR", "units": units.to_string(), "nanos": nanos}});
        let user = gateway.user(user).pass().await?.user;
        let path = format!("/v1/wallets/{user}:credit");
        let answer = gateway.post(&path, &body, Some(key)).await?;
        answer
            .success()
            .with_context(|| format!("crediting {user}"))
    };
    // an order costs 207 euros at the most
    let units = orders.saturating_mul(207).clamp(1, 900_000);
    for number in 0..seed::SHOPPERS {
        let user = seed::shopper(number);
        credit(&user, units, 0, &format!("demo-{run}-{user}")).await?;
    }
    for sku in seed::COMMON {
        let body = json!({"delta": (u64::from(orders) * 6 + 1).to_string(), "reason": "demo"});
        let path = format!("/v1/stock/{sku}:adjust");
        let answer = gateway
            .post(&path, &body, Some(&format!("demo-{run}-{sku}")))
            .await?;
        answer
            .success()
            .with_context(|| format!("putting {sku} into stock: was the stack seeded by `dev`?"))?;
    }
    Ok(())
}

async fn on_own(options: &DemoOptions, kafka: &KafkaChoice) -> anyhow::Result<Report> {
    let backing = Backing::start(BackingOptions {
        database_url: None,
        data_dir: None,
        kafka: kafka.clone(),
        prefix: format!("demo-{}", run_id()),
        progress: Progress::Stderr,
    })
    .await?;
    let outcome = on_backing(options, &backing).await;
    if backing.kafka.broker == BrokerKind::Real
        && let Err(error) = delete_topics(&backing.kafka).await
    {
        tracing::warn!(%error, prefix = backing.kafka.prefix, "the demo's topics stay");
    }
    backing.stop().await;
    outcome
}

async fn on_backing(options: &DemoOptions, backing: &Backing) -> anyhow::Result<Report> {
    let server = &backing.database_url;
    migrate(server, &backing.kafka, backing.partitions).await?;
    // before the first record is written, so that none escapes
    log::install(server).await?;
    let watcher = Watcher::start(&backing.kafka).await?;
    seed::seed(server).await?;
    let mut eyes = Eyes::sql(server).await?;
    match &options.mode {
        Mode::Calm => {
            let stack = Stack::start(StackOptions {
                database_url: server.clone(),
                kafka: backing.kafka.clone(),
                ports: Ports::Free,
                tracing: Tracing::Off,
                plans: Vec::new(),
                rate_limit: 0,
            })
            .await?;
            let crowd = crowd(
                options,
                Gateway::of_stack(&stack.url(), server).await?,
                run_id(),
            );
            let stopping = stack.stopping();
            let judged = async {
                let tally = orders(options, &crowd, &mut eyes, None).await?;
                judge(options, backing, &watcher, &crowd, tally, &eyes).await
            };
            let report = tokio::select! {
                report = judged => report,
                () = stopping.cancelled() => Err(anyhow::anyhow!("the stack broke down")),
            };
            // why it broke down comes before that it did
            stack.stop().await?;
            report
        }
        Mode::Chaos { program } => {
            let fleet = Fleet::start(chaos::fleet_of(program, backing)?).await?;
            let crowd = crowd(
                options,
                Gateway::of_stack(&fleet.url(), server).await?,
                run_id(),
            );
            let tally = orders(options, &crowd, &mut eyes, Some(&fleet)).await;
            if tally.is_err() {
                fleet.keep_logs();
            }
            let report = judge(options, backing, &watcher, &crowd, tally?, &eyes).await?;
            if !report.is_good() {
                fleet.keep_logs();
            }
            fleet.stop().await?;
            Ok(report)
        }
    }
}

fn crowd(options: &DemoOptions, gateway: Gateway, run: String) -> Arc<Crowd> {
    let workload = Workload {
        seed: options.seed,
        run,
    };
    Arc::new(Crowd::new(gateway, workload, options.orders, OPEN_MAX))
}

/// Places all orders, and waits until they are decided, or nothing moves any more.
async fn orders(
    options: &DemoOptions,
    crowd: &Arc<Crowd>,
    eyes: &mut Eyes,
    fleet: Option<&Fleet>,
) -> anyhow::Result<Tally> {
    let clients = async {
        let clients = options.clients.clamp(1, options.orders.max(1));
        try_join_all((0..clients).map(|_| crowd.client())).await?;
        anyhow::Ok(())
    };
    let admitted = async {
        match (fleet, options.rate) {
            (Some(fleet), _) => chaos::torment(fleet, crowd, options.seed).await,
            (None, Some(rate)) => {
                let mut tick = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
                for _ in 0..options.orders {
                    tick.tick().await;
                    crowd.gate.add_permits(1);
                }
                Ok(())
            }
            (None, None) => {
                crowd.gate.add_permits(options.orders as usize);
                Ok(())
            }
        }
    };
    let watched = watch(options.orders, crowd, eyes);
    let ((), (), tally) = tokio::try_join!(clients, admitted, watched)?;
    Ok(tally)
}

async fn watch(orders: u32, crowd: &Crowd, eyes: &mut Eyes) -> anyhow::Result<Tally> {
    let bar = bar(orders);
    let mut before = Tally::default();
    let mut changed = Instant::now();
    let (begin, mut said) = (changed, changed);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let tally = eyes.look(&crowd.ids()).await?;
        crowd.open.send_replace(tally.pending);
        let ended = tally.completed + tally.compensated + tally.needs_attention;
        bar.set_position(u64::from(ended));
        bar.set_message(format!(
            "{} completed, {} compensated",
            tally.completed, tally.compensated
        ));
        if bar.is_hidden() && said.elapsed() > SAY_EVERY {
            said = Instant::now();
            Progress::Stderr.say(&format!(
                "after {} s: {} of {orders} orders placed, {} pending, sagas {} completed, {} compensated, {} needing \
                 attention, {} records unpublished, {} calls owed",
                begin.elapsed().as_secs(),
                *crowd.placed().borrow(),
                tally.pending,
                tally.completed,
                tally.compensated,
                tally.needs_attention,
                tally.unpublished,
                tally.owed,
            ));
        }
        let rests = tally.pending == 0 && tally.unpublished == 0 && tally.owed == 0;
        if ended >= orders && rests {
            bar.finish_and_clear();
            return Ok(tally);
        }
        if tally != before || *crowd.placed().borrow() < orders {
            (before, changed) = (tally, Instant::now());
        } else if changed.elapsed() > STALL_LIMIT {
            bar.finish_and_clear();
            return Ok(tally);
        }
    }
}

fn bar(orders: u32) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {elapsed}")
        .expect("the template is valid");
    ProgressBar::new(u64::from(orders)).with_style(style)
}

async fn judge(
    options: &DemoOptions,
    backing: &Backing,
    watcher: &Watcher,
    crowd: &Crowd,
    tally: Tally,
    eyes: &Eyes,
) -> anyhow::Result<Report> {
    let server = &backing.database_url;
    let committed = log::committed(server).await?;
    let until = Instant::now() + TAIL_LIMIT;
    while watcher.count() < committed && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let mut checks = vec![keys_check(crowd, Some(tally))];
    for finding in invariants::check(server).await? {
        checks.push(Check {
            name: finding.name,
            holds: finding.holds,
            result: result_of(finding.violations),
        });
    }
    checks.push(Check {
        name: "outbox-is-seen",
        holds: "what was committed to outboxes is what was seen on Kafka, with the same bytes",
        result: result_of(watcher.compare(server, &backing.kafka).await?),
    });
    let pace: Pace = eyes.pace().await?;
    Ok(Report::of(options.orders, tally, pace, checks))
}

fn result_of(violations: Vec<String>) -> CheckResult {
    if violations.is_empty() {
        CheckResult::Holds
    } else {
        CheckResult::Violated(violations)
    }
}

/// One order for each key, whatever was repeated; `tally` if it counts every order that there is.
fn keys_check(crowd: &Crowd, tally: Option<Tally>) -> Check {
    let mut violations = crowd.complaints();
    let mut ids = crowd.ids();
    let placed = ids.len();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != placed {
        violations.push(format!("{placed} keys gave {} orders", ids.len()));
    }
    if let Some(tally) = tally {
        let sagas = tally.completed + tally.compensated + tally.needs_attention;
        if sagas as usize > placed {
            violations.push(format!("{placed} keys started {sagas} sagas"));
        }
    }
    Check {
        name: "one-order-a-key",
        holds: "however often a call is repeated with its key, there is one order",
        result: result_of(violations),
    }
}

fn run_id() -> String {
    format!("{:08x}", rand::random::<u32>())
}
