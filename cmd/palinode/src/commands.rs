use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use palinode_lab::atlas::{ExploreOptions, RandomOptions, ReplayOptions};
use palinode_lab::demo::{DemoOptions, Mode, Target};
use palinode_lab::dev::DevOptions;
use palinode_lab::local::LocalOptions;
use palinode_lab::plans::Drawing;
use palinode_lab::sagas::bulk::{self, Consent};
use palinode_lab::sagas::{Format, Question, cases};
use palinode_lab::{
    Gateway, GatewayPort, KafkaChoice, Tracing, atlas, conformance, dev, local, plans, sagas,
    samples, server_of, session,
};
use palinode_messaging::{BrokerKind, Kafka};
use palinode_telemetry::{LogFormat, init_logs};

use serde_json::json;

use crate::line::{
    self, At, Bulks, BulksCommand, Command, Demo, Dev, Lab, Migrate, Plan, Saga, Stack, Start, Verb,
};

const PORT: u16 = 8080;

/// Runs a command on a runtime of its own.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let outcome = runtime.block_on(dispatch(command));
    // what did not stop in time is cut off here
    runtime.shutdown_background();
    outcome
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Dev(line) => Box::pin(develop(line)).await?,
        Command::Stack(line) => Box::pin(stack(line)).await?,
        Command::Migrate(line) => migrate(line).await?,
        Command::Demo(line) => return Box::pin(demo(line)).await,
        Command::SignIn(line) => line.run().await?,
        Command::SignOut(line) => line.run().await?,
        Command::Saga(line) => return saga(line).await,
        Command::Outbox(line) => return Box::pin(line.run()).await,
        Command::Plan(line) => return plan(&line),
        Command::Lab(line) => return Box::pin(lab(&line)).await,
        Command::Bench(line) => return Box::pin(line.run()).await,
        Command::Serve(_) => anyhow::bail!("serve has a runtime of its own"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn develop(line: Dev) -> anyhow::Result<()> {
    init_logs(&line.common.log, LogFormat::Text)?;
    let options = DevOptions {
        port: line
            .port
            .map_or(GatewayPort::Preferably(PORT), GatewayPort::Exactly),
        data_dir: line.data_dir,
        kafka: line.kafka,
        database_url: line.database_url,
        prefix: line.common.topic_prefix,
        plans: line.plans,
        rate_limit: line.rate_limit,
        tracing: line
            .common
            .otlp_endpoint
            .map_or(Tracing::Off, Tracing::Otlp),
    };
    dev::run(options).await
}

async fn stack(line: Stack) -> anyhow::Result<()> {
    init_logs(&line.common.log, LogFormat::Text)?;
    local::run(LocalOptions {
        program: std::env::current_exe()?,
        dir: line.dir,
        kafka: line.kafka,
        database_url: line.database_url,
        port: line.port,
        prefix: line.common.topic_prefix,
        otlp_endpoint: line.common.otlp_endpoint,
    })
    .await
}

async fn migrate(line: Migrate) -> anyhow::Result<()> {
    let kafka = Kafka {
        bootstrap: line.kafka,
        prefix: line.prefix,
        broker: BrokerKind::Real,
    };
    let server = server_of(&line.database_url);
    palinode_lab::migrate(&server, &kafka, line.partitions).await?;
    writeln!(std::io::stdout(), "databases and topics are up to date")?;
    Ok(())
}

async fn demo(line: Demo) -> anyhow::Result<ExitCode> {
    init_logs(&line.log, LogFormat::Text)?;
    let target = match (line.server, line.kafka) {
        (Some(server), _) => Target::Server(server),
        (None, Some(kafka)) => Target::Own(KafkaChoice::Given(kafka)),
        (None, None) if line.chaos && !line.embedded => Target::Own(KafkaChoice::JarsIfJava),
        (None, None) => Target::Own(KafkaChoice::InProcess),
    };
    let mode = if line.chaos {
        Mode::Chaos {
            program: std::env::current_exe()?,
        }
    } else {
        Mode::Calm
    };
    let options = DemoOptions {
        orders: line.orders,
        seed: line.seed,
        clients: line.clients,
        rate: line.rate,
        target,
        mode,
    };
    let report = palinode_lab::demo::run(&options).await?;
    let mut out = std::io::stdout().lock();
    report.write(&mut out)?;
    if line.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    }
    Ok(code(report.is_good()))
}

fn plan(line: &Plan) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match line {
        Plan::List => plans::list(&mut out)?,
        Plan::Show { plan } => plans::show(&plans::plan(plan)?, &mut out)?,
        Plan::Draw { plan, drawing } => {
            let drawing = match drawing {
                line::Drawing::Mermaid => Drawing::Mermaid,
                line::Drawing::Dot => Drawing::Dot,
                line::Drawing::Json => Drawing::Json,
            };
            plans::draw(&plans::plan(plan)?, drawing, &mut out)?;
        }
        Plan::Migrate { from, to } => {
            let (from, to) = (plans::plan(from)?, plans::plan(to)?);
            return Ok(code(plans::migrate::show(&from, &to, &mut out)?));
        }
        // that it could be built and resolved is half of the check
        Plan::Check { plan } => {
            let options = ExploreOptions {
                faults: 2,
                ..ExploreOptions::default()
            };
            let plan = plans::plan(plan)?;
            return Ok(code(atlas::explore(&plan, &options, &mut out)?));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn lab(line: &Lab) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let good = match line {
        Lab::Explore(line) => explore(line, &mut out)?,
        Lab::Replay(line) => {
            let options = ReplayOptions {
                scenario: line.scenario.clone(),
                schedule: line.schedule.clone(),
                mutant: line.mutant,
                json: line.json,
            };
            atlas::replay(&samples::plan(&line.plan)?, &options, &mut out)?
        }
        Lab::Random(line) => {
            let options = RandomOptions {
                seeds: line.seeds,
                seed: line.seed,
                faults: line.faults,
                json: line.json,
            };
            let plan = samples::plan(&line.plan)?;
            match line.sagas {
                Some(sagas) => atlas::random_crowd(&plan, sagas.into(), &options, &mut out)?,
                None => atlas::random(&plan, &options, &mut out)?,
            }
        }
        Lab::Conform { plan, json } => {
            conformance::conform(&plans::plan(plan)?, *json, &mut out).await?
        }
        Lab::Seen { json } => atlas::seen(&samples::plans()?, *json, &mut out)?,
        Lab::Mutants { only, json } => atlas::mutants(&samples::plans()?, *only, *json, &mut out)?,
    };
    Ok(code(good))
}

fn explore(line: &line::Explore, out: &mut impl Write) -> anyhow::Result<bool> {
    let plan = samples::plan(&line.plan)?;
    if line.count {
        atlas::scenarios(&plan, line.json, out)?;
        return Ok(true);
    }
    if let Some(to) = &line.migrate_to {
        let to = samples::plan(to)?;
        return atlas::migration(&plan, &to, line.faults, line.json, out);
    }
    let world = line.world.map(|world| match world {
        line::Beyond::Forgetful => atlas::World::Forgetful,
        line::Beyond::Restored => atlas::World::Restored,
    });
    if let Some(world) = world {
        return atlas::beyond(&plan, world, line.faults, line.json, out);
    }
    let options = ExploreOptions {
        faults: line.faults,
        unreduced: line.unreduced,
        json: line.json,
        dir: line.out.clone(),
    };
    if let Some(with) = &line.with {
        return atlas::pair_of([&plan, &samples::plan(with)?], &options, out);
    }
    atlas::explore(&plan, &options, out)
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn saga(line: Saga) -> anyhow::Result<ExitCode> {
    let (question, at) = match line {
        Saga::List {
            state,
            stuck,
            limit,
            at,
        } => {
            let state = state.map(|state| state.word().to_owned());
            (
                Question::List {
                    state,
                    stuck,
                    limit,
                },
                at,
            )
        }
        Saga::Start(line) => return start(line).await,
        Saga::Show { saga, at } => (Question::Show(saga), at),
        Saga::Why { saga, at } => (Question::Why(saga), at),
        Saga::History { saga, at } => (Question::History(saga), at),
        Saga::Act(verb) => return act(&verb).await.map(|()| ExitCode::SUCCESS),
        Saga::Bulk(line) => {
            let (gateway, format) = asked(&line.at).await?;
            let consent = Consent::of(line.yes);
            let mut out = std::io::stdout().lock();
            let done = bulk::bulk(&gateway, &line.request(), consent, format, &mut out).await?;
            return Ok(code(done));
        }
        Saga::Bulks(line) => return bulks(line).await,
        Saga::Cases(line) => return ask_about_cases(line.question()).await,
        Saga::Breakers(line) => return ask_about_cases(line.question()).await,
        Saga::Orphans { database_url } => {
            let server = server_of(&database_url);
            return Ok(code(
                sagas::orphans(&server, &mut std::io::stdout().lock()).await?,
            ));
        }
    };
    let (gateway, format) = asked(&at).await?;
    sagas::answer(&gateway, &question, format, &mut std::io::stdout().lock()).await?;
    Ok(ExitCode::SUCCESS)
}

async fn start(line: Start) -> anyhow::Result<ExitCode> {
    let plan = plans::plan(&line.plan)?;
    anyhow::ensure!(
        line.plan == plan.name(),
        "a new saga runs the version of its plan that is current: say {}, without a version",
        plan.name()
    );
    let (gateway, format) = asked(&line.at).await?;
    let start = sagas::Start {
        plan: plan.name().to_owned(),
        message: plan.input().to_owned(),
        key: line.key,
        input: line.input,
        wait: line.wait,
    };
    let mut out = std::io::stdout().lock();
    Ok(code(
        sagas::start(&gateway, &start, format, &mut out).await?,
    ))
}

async fn bulks(line: Bulks) -> anyhow::Result<ExitCode> {
    let (question, at) = match line.command {
        None => {
            let limit = line.limit;
            (bulk::Question::List { limit }, line.at)
        }
        Some(BulksCommand::Show(line)) => (bulk::Question::Show(line.bulk), line.at),
        Some(BulksCommand::Run(line)) => (bulk::Question::Run(line.bulk), line.at),
        Some(BulksCommand::Stop(line)) => (bulk::Question::Stop(line.bulk), line.at),
    };
    let (gateway, format) = asked(&at).await?;
    let mut out = std::io::stdout().lock();
    let done = bulk::answer(&gateway, &question, format, &mut out).await?;
    Ok(code(done))
}

async fn ask_about_cases((question, at): (cases::Question, At)) -> anyhow::Result<ExitCode> {
    let (gateway, format) = asked(&at).await?;
    cases::answer(&gateway, &question, format, &mut std::io::stdout().lock()).await?;
    Ok(ExitCode::SUCCESS)
}

async fn act(verb: &Verb) -> anyhow::Result<()> {
    let (act, verb, body) = verb.parts();
    let (gateway, format) = asked(&act.at).await?;
    let mut request = json!({
        "reason": act.reason,
        "preview": act.preview,
        "expectedVersion": act.version.unwrap_or_default().to_string(),
    });
    request[verb] = body;
    sagas::act(
        &gateway,
        &act.saga,
        &request,
        format,
        &mut std::io::stdout().lock(),
    )
    .await
}

async fn asked(at: &At) -> anyhow::Result<(Gateway, Format)> {
    let format = if at.json { Format::Json } else { Format::Table };
    let gateway = session::gateway(&at.server, at.token.as_deref()).await?;
    Ok((gateway, format))
}
