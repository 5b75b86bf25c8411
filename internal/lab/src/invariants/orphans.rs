use palinode_db::Area;
use palinode_testkit::database::with_database;
use sqlx::Row;

use super::{Fact, connect, copy, create};

/// Effects at a participant whose saga the orchestrator does not know: what a restore of one
/// database to an earlier moment leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The participant.
    pub participant: String,
    /// The saga that nobody knows.
    pub saga: String,
    /// Its step.
    pub step: String,
    /// What the guard says of the action and of the compensation: `done/none`.
    pub guard: String,
}

/// Orphans that are told; more are there when as many come back.
pub const ORPHANS_MAX: i32 = 1_000;

const SAGAS: Fact = Fact {
    area: Area::Saga,
    table: "known_saga",
    columns: "id uuid PRIMARY KEY",
    select: "SELECT id FROM saga",
};

const GUARDS: Fact = Fact {
    area: Area::Saga,
    table: "guard",
    columns: "participant text, saga_id uuid, step text, act text, comp text, updated_at timestamptz",
    select: "SELECT '{area}'::text, saga_id, step, act, comp, updated_at FROM saga_guard",
};

/// Looks for guard rows without a saga, in every database of a server. Rows of the last minute are
/// left out: a saga may just be starting.
///
/// # Errors
/// A database does not answer, or has another schema.
pub async fn orphans(server: &str) -> anyhow::Result<Vec<Orphan>> {
    let mut verdict = connect(&with_database(server, "postgres")).await?;
    create(&mut verdict, &GUARDS).await?;
    create(&mut verdict, &SAGAS).await?;
    // guard rows first: a saga that starts meanwhile is then known
    for area in Area::ALL.into_iter().filter(|area| area.has_outbox()) {
        copy(server, area, &GUARDS, &mut verdict).await?;
    }
    copy(server, SAGAS.area, &SAGAS, &mut verdict).await?;
    let rows = sqlx::query(
        "SELECT participant, saga_id::text, step, act || '/' || comp FROM guard g
          WHERE NOT EXISTS (SELECT FROM known_saga s WHERE s.id = g.saga_id)
            AND updated_at < now() - interval '1 min'
          ORDER BY saga_id, step LIMIT $1",
    )
    .bind(ORPHANS_MAX)
    .fetch_all(&mut verdict)
    .await?;
    let orphan = |row: &sqlx::postgres::PgRow| -> Result<Orphan, sqlx::Error> {
        Ok(Orphan {
            participant: row.try_get(0)?,
            saga: row.try_get(1)?,
            step: row.try_get(2)?,
            guard: row.try_get(3)?,
        })
    };
    Ok(rows.iter().map(orphan).collect::<Result<_, _>>()?)
}
