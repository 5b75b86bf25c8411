//! How long operators wait when a million sagas are at rest: a database is filled, and each
//! question is asked of the orchestrator over gRPC.
#![expect(
    clippy::disallowed_methods,
    reason = "fills the orchestrator's tables with statements of its own"
)]

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use palinode_orchestrator::{DescriptorSchema, place_order_2};
use palinode_pb::saga::v1::act_on_saga_request::Verb;
use palinode_pb::saga::v1::saga_service_client::SagaServiceClient;
use palinode_pb::saga::v1::{
    ActOnSagaRequest, GetSagaRequest, ListBreakersRequest, ListCasesRequest, ListSagasRequest,
    Pause, Resume, SagaState,
};
use palinode_saga::{Answer, DbTime, Direction, Input, Plan, State, next};
use palinode_testkit::Progress;
use palinode_values::Clock;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use crate::backing::{Backing, BackingOptions, KafkaChoice};
use crate::passes::{Passes, SignedChannel, Who, signed};
use crate::prepare::migrate;
use crate::stack::{Ports, Stack, StackOptions, Tracing};

const PREFIX: &str = "rest";
const ROUNDS: usize = 21;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct AtRest {
    /// Sagas that have ended.
    pub sagas: u32,
    /// Sagas under way, at least 1,000; a few of them need somebody to look.
    pub in_flight: u32,
}

/// Fills a throw-away database and measures how long each question of an operator takes.
///
/// Shape: a line for each question, with median and worst of 21 rounds in milliseconds; with `json`
/// the last line is one JSON object.
///
/// # Errors
/// The stack cannot be started, or does not answer; those of `out`.
pub async fn at_rest(options: AtRest, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let (sagas, in_flight) = (i64::from(options.sagas), i64::from(options.in_flight));
    let backing = Backing::start(BackingOptions {
        database_url: None,
        data_dir: None,
        kafka: KafkaChoice::InProcess,
        prefix: PREFIX.to_owned(),
        progress: Progress::Stderr,
    })
    .await?;
    migrate(&backing.database_url, &backing.kafka, backing.partitions).await?;
    let stack = Stack::start(StackOptions {
        database_url: backing.database_url.clone(),
        kafka: backing.kafka.clone(),
        ports: Ports::Free,
        tracing: Tracing::Off,
        plans: Vec::new(),
        rate_limit: 0,
    })
    .await?;
    let mut database =
        PgConnection::connect(&format!("{}/palinode_saga", backing.database_url)).await?;
    let began = Instant::now();
    fill(&mut database, sagas, in_flight).await?;
    writeln!(
        out,
        "{sagas} sagas at rest and {in_flight} in flight, written in {:.0} s",
        began.elapsed().as_secs_f64()
    )?;
    let addresses = stack.addresses().iter();
    let mut addresses = addresses.filter(|(name, _)| *name == "orchestrator");
    let (_, address) = addresses.next().context("a stack has an orchestrator")?;
    let pass = Passes::minted(&backing.database_url).await?;
    let pass = pass.of(&Who::admin()).await?;
    let channel = palinode_rpc::channel(&address.to_string().parse()?);
    let client = SagaServiceClient::new(signed(channel, &pass)?);
    let measured = measure(client, &mut database).await?;
    for (name, median, worst) in &measured {
        writeln!(
            out,
            "{name:<24} median {median:>7.2} ms   worst {worst:>7.2} ms"
        )?;
    }
    let figures: serde_json::Map<_, _> = measured
        .iter()
        .map(|(name, median, worst)| {
            let figure = serde_json::json!({"median_ms": median, "worst_ms": worst});
            ((*name).to_owned(), figure)
        })
        .collect();
    if json {
        let line = serde_json::json!({
            "bench": "at-rest", "sagas": sagas, "in_flight": in_flight, "rounds": ROUNDS,
            "calls": figures,
        });
        writeln!(out, "{line}")?;
    }
    database.close().await?;
    stack.stop().await?;
    backing.stop().await;
    Ok(())
}

/// What the engine makes of a saga that hears this of its steps, as it is stored.
fn body(plan: &Plan, heard: &[(&str, Answer)]) -> anyhow::Result<Vec<u8>> {
    let now = DbTime::from(Clock::system().now());
    let mut state = next(plan, &State::new(plan), &Input::Start, now).state;
    for (step, answer) in heard {
        let back = matches!(answer, Answer::Undone | Answer::CannotUndo { .. });
        let input = Input::Reply {
            step: plan.position(step).context("a step of the plan")?,
            direction: if back {
                Direction::Backward
            } else {
                Direction::Forward
            },
            attempt: 1,
            answer: answer.clone(),
        };
        state = next(plan, &state, &input, now).state;
    }
    Ok(serde_json::to_vec(&state)?)
}

/// Sagas of the last twenty days that have ended, one in ten of them compensated; and some in
/// flight, of which a few are cases. No timer of theirs is due.
async fn fill(database: &mut PgConnection, sagas: i64, in_flight: i64) -> anyhow::Result<()> {
    let plan = place_order_2()?.resolve(&DescriptorSchema::default())?;
    let failed = Answer::Failed {
        reason: "OUT_OF_STOCK".to_owned(),
        detail: String::new(),
    };
    let stuck = Answer::CannotUndo {
        reason: "CARD_CLOSED".to_owned(),
    };
    let completed: Vec<(&str, Answer)> = plan.steps()[1..]
        .iter()
        .map(|step| (step.name.as_str(), Answer::Done))
        .collect();
    let compensated = [
        ("reserve-stock", failed.clone()),
        ("open-order", Answer::Undone),
    ];
    let attention = [
        ("reserve-stock", Answer::Done),
        ("charge-payment", Answer::Done),
        ("arrange-shipping", failed),
        ("charge-payment", stuck),
    ];
    let kinds = [
        ("completed", body(&plan, &completed)?, 0, sagas * 9 / 10),
        (
            "compensated",
            body(&plan, &compensated)?,
            sagas * 9 / 10,
            sagas,
        ),
        ("running", body(&plan, &[])?, sagas, sagas + in_flight - 100),
        (
            "needs-attention",
            body(&plan, &attention)?,
            sagas + in_flight - 100,
            sagas + in_flight,
        ),
    ];
    for (state, body, from, to) in kinds {
        sqlx::query(
            "INSERT INTO saga (id, lane, plan_id, plan_name, business_key, version, state, body,
                               waits_for, waits_step, wait_until, wake_at, progress_at, started_at)
             SELECT (left(uuid_at(at)::text, 14) || '7' || substr(digest, 1, 3) || '-8'
                     || substr(digest, 4, 3) || '-' || substr(digest, 7, 12))::uuid,
                    n % 16, p.id, p.name, digest, 6, $1, $2,
                    CASE WHEN is_over THEN NULL WHEN $1 = 'running' THEN 'reply' ELSE 'operator' END,
                    CASE WHEN is_over THEN NULL ELSE 'reserve-stock' END,
                    CASE WHEN $1 = 'running' THEN now() + interval '1 h' END,
                    CASE WHEN $1 = 'running' THEN now() + interval '1 h' END,
                    -- a few in flight make no progress
                    CASE WHEN n % 200 = 0 AND NOT is_over THEN now() - interval '1 h' ELSE at END, at
               FROM generate_series($3::bigint, $4 - 1) n
              CROSS JOIN LATERAL (SELECT md5(n::text) AS digest,
                                         $1 IN ('completed', 'compensated') AS is_over) h
              CROSS JOIN LATERAL (
                SELECT CASE WHEN is_over
                            THEN now() - interval '20 days' * (1 - (n * 7919 % $5)::float8 / $5)
                                       - interval '1 min'
                            ELSE now() END AS at) t
               JOIN plan p ON p.name = $6 AND p.version = $7",
        )
        .bind(state)
        .bind(body)
        .bind(from)
        .bind(to)
        .bind(sagas)
        .bind(plan.name())
        .bind(i32::try_from(plan.version())?)
        .execute(&mut *database)
        .await
        .context(state)?;
    }
    sqlx::raw_sql(
        "INSERT INTO saga_late (saga_id, note, body)
           SELECT id, 'contradiction', '{}' FROM saga WHERE state = 'completed' LIMIT 20",
    )
    .execute(&mut *database)
    .await?;
    // what is asked again has been asked before, with these bytes
    sqlx::raw_sql(
        r"INSERT INTO saga_history (saga_id, version, at, kind, body, payloads)
           SELECT id, 1, started_at, 1, '{}',
                  '\x0a370a11'::bytea || 'cmd/reserve-stock'
                    || '\x1222'::bytea || 'palinode.inventory.v1.ReserveStock'
             FROM saga WHERE state = 'running'
           ON CONFLICT DO NOTHING",
    )
    .execute(&mut *database)
    .await?;
    sqlx::raw_sql("VACUUM ANALYZE saga")
        .execute(&mut *database)
        .await?;
    sqlx::raw_sql("CHECKPOINT").execute(&mut *database).await?;
    Ok(())
}

type Measured = Vec<(&'static str, f64, f64)>;

async fn measure(
    client: SagaServiceClient<SignedChannel>,
    database: &mut PgConnection,
) -> anyhow::Result<Measured> {
    let ids: Vec<sqlx::types::Uuid> = sqlx::query_scalar(
        "SELECT id FROM saga WHERE state = 'running' ORDER BY md5(id::text) LIMIT $1",
    )
    .bind(i64::try_from(2 * ROUNDS)?)
    .fetch_all(database)
    .await?;
    let list = |state: SagaState, stuck| ListSagasRequest {
        state: state.into(),
        stuck,
        ..ListSagasRequest::default()
    };
    let lists = [
        ("list", list(SagaState::Unspecified, false)),
        ("list completed", list(SagaState::Completed, false)),
        ("list compensated", list(SagaState::Compensated, false)),
        (
            "list compensating (none)",
            list(SagaState::Compensating, false),
        ),
        (
            "list needs-attention",
            list(SagaState::NeedsAttention, false),
        ),
        ("list --stuck", list(SagaState::Unspecified, true)),
    ];
    let mut measured = Vec::new();
    for (name, request) in lists {
        let ask = async |_| Ok(client.clone().list_sagas(request.clone()).await.map(drop)?);
        measured.push(time(name, ask).await?);
    }
    let cases = async |_| {
        let page = client
            .clone()
            .list_cases(ListCasesRequest::default())
            .await?;
        ensure!(!page.into_inner().cases.is_empty(), "there are cases");
        Ok(())
    };
    measured.push(time("cases", cases).await?);
    let class = async |_| {
        let request = ListCasesRequest {
            class: "no_progress".to_owned(),
            ..ListCasesRequest::default()
        };
        Ok(client.clone().list_cases(request).await.map(drop)?)
    };
    measured.push(time("cases of one class", class).await?);
    let get = async |round: usize| {
        let saga_id = ids[round].to_string();
        Ok(client
            .clone()
            .get_saga(GetSagaRequest { saga_id })
            .await
            .map(drop)?)
    };
    measured.push(time("get", get).await?);
    let act = |saga_id: String, verb| ActOnSagaRequest {
        saga_id,
        verb: Some(verb),
        reason: "measured".to_owned(),
        ..ActOnSagaRequest::default()
    };
    let pause = async |round: usize| {
        let request = act(ids[round].to_string(), Verb::Pause(Pause {}));
        Ok(client.clone().act_on_saga(request).await.map(drop)?)
    };
    measured.push(time("pause", pause).await?);
    let resume = async |round: usize| {
        let request = act(ids[round].to_string(), Verb::Resume(Resume {}));
        Ok(client.clone().act_on_saga(request).await.map(drop)?)
    };
    measured.push(time("resume", resume).await?);
    let breakers = async |_| {
        Ok(client
            .clone()
            .list_breakers(ListBreakersRequest {})
            .await
            .map(drop)?)
    };
    measured.push(time("breakers", breakers).await?);
    Ok(measured)
}

/// Median and worst of some rounds.
async fn time(
    name: &'static str,
    ask: impl AsyncFn(usize) -> anyhow::Result<()>,
) -> anyhow::Result<(&'static str, f64, f64)> {
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let began = Instant::now();
        ask(round).await.context(name)?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let millis = |took: Duration| took.as_secs_f64() * 1000.0;
    Ok((name, millis(took[ROUNDS / 2]), millis(took[ROUNDS - 1])))
}
