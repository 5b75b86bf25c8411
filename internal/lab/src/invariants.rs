//! What must hold when every order is decided, checked by SQL over all databases.
//!
//! A few columns of each service's tables are copied into temporary tables on one connection;
//! each invariant is a query over those that finds what should not be there.
#![expect(
    clippy::disallowed_methods,
    reason = "the lab reads every service's database; no area's schema is its own"
)]

use anyhow::Context;
use futures_util::TryStreamExt;
use palinode_db::Area;
use palinode_testkit::database::with_database;
use sqlx::{Connection, PgConnection, Row};

use crate::prepare::database_of;

mod orphans;
mod table;

pub use orphans::{ORPHANS_MAX, Orphan, orphans};
pub use table::INVARIANTS;
use table::{FACTS, Fact, OUTBOX_FACTS};

/// Violations of one invariant that are told; more are counted by nobody.
const TOLD_MAX: i32 = 5;

/// Something that must hold.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// Its name.
    pub name: &'static str,
    /// What must hold, in words.
    pub holds: &'static str,
    /// Finds violations: one text column, no row when all is well.
    sql: &'static str,
}

/// How an invariant fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The invariant's name.
    pub name: &'static str,
    /// What must hold, in words.
    pub holds: &'static str,
    /// What was found instead; empty when it holds.
    pub violations: Vec<String>,
}

/// Checks every invariant over the databases of a server, when nothing moves any more.
///
/// Shape: a finding for each of [`INVARIANTS`], in its order.
///
/// # Errors
/// A database does not answer, or has another schema than the invariants know.
pub async fn check(server: &str) -> anyhow::Result<Vec<Finding>> {
    let mut verdict = connect(&with_database(server, "postgres")).await?;
    // half a million orders are joined in memory
    sqlx::raw_sql("SET work_mem = '256MB'; SET temp_buffers = '256MB'; SET jit = off")
        .execute(&mut verdict)
        .await?;
    for fact in FACTS {
        create(&mut verdict, fact).await?;
        copy(server, fact.area, fact, &mut verdict).await?;
    }
    for fact in OUTBOX_FACTS {
        create(&mut verdict, fact).await?;
        for area in Area::ALL.into_iter().filter(|area| area.has_outbox()) {
            copy(server, area, fact, &mut verdict).await?;
        }
    }
    sqlx::raw_sql("ANALYZE").execute(&mut verdict).await?;
    let mut findings = Vec::new();
    for invariant in INVARIANTS {
        let rows = sqlx::query(invariant.sql)
            .bind(TOLD_MAX)
            .fetch_all(&mut verdict)
            .await
            .with_context(|| format!("the invariant {}", invariant.name))?;
        let violations = rows
            .iter()
            .map(|row| row.try_get::<String, _>(0))
            .collect::<Result<_, _>>()?;
        findings.push(Finding {
            name: invariant.name,
            holds: invariant.holds,
            violations,
        });
    }
    verdict.close().await?;
    Ok(findings)
}

async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    PgConnection::connect(url)
        .await
        .context("no connection to PostgreSQL")
}

async fn create(verdict: &mut PgConnection, fact: &Fact) -> anyhow::Result<()> {
    let create = format!("CREATE TEMP TABLE {} ({})", fact.table, fact.columns);
    sqlx::raw_sql(sqlx::AssertSqlSafe(create))
        .execute(verdict)
        .await
        .with_context(|| format!("the facts {}", fact.table))?;
    Ok(())
}

/// Streams the rows over: nothing of them stays here, however many orders there were.
async fn copy(
    server: &str,
    area: Area,
    fact: &Fact,
    verdict: &mut PgConnection,
) -> anyhow::Result<()> {
    let copied = async {
        let mut source = connect(&database_of(server, area)).await?;
        let select = fact.select.replace("{area}", area.name());
        let out = format!("COPY ({select}) TO STDOUT (FORMAT binary)");
        let into = format!("COPY {} FROM STDIN (FORMAT binary)", fact.table);
        let mut target = verdict.copy_in_raw(&into).await?;
        {
            let mut rows = source.copy_out_raw(&out).await?;
            while let Some(bytes) = rows.try_next().await? {
                target.send(bytes).await?;
            }
        }
        target.finish().await?;
        source.close().await?;
        anyhow::Ok(())
    };
    copied
        .await
        .with_context(|| format!("the facts {} of {}", fact.table, area.name()))
}
