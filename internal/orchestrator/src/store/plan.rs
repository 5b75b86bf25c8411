use palinode_db::{Db, Error};
use palinode_saga::Plan;

use crate::runner::registry::StoredPlan;

/// Stores a plan once; returns the hash under which its name and version are stored.
pub(crate) async fn register(db: &Db, plan: &Plan) -> Result<String, Error> {
    let body = serde_json::to_vec(plan).map_err(|e| {
        Error::inconsistent(
            "plan",
            "body",
            plan.label(),
            format!("cannot be written: {e}"),
        )
    })?;
    let version = i32::try_from(plan.version()).unwrap_or(i32::MAX);
    sqlx::query!(
        "INSERT INTO plan (name, version, hash, body, deadline)
         VALUES ($1, $2, $3, $4, make_interval(secs => $5))
         ON CONFLICT DO NOTHING",
        plan.name(),
        version,
        plan.hash(),
        body,
        plan.deadline().as_secs_f64()
    )
    .execute(db.pool())
    .await?;
    let stored = sqlx::query_scalar!(
        "SELECT hash FROM plan WHERE name = $1 AND version = $2",
        plan.name(),
        version
    )
    .fetch_one(db.pool())
    .await?;
    Ok(stored)
}

/// Every stored plan. Plans are few: one a released version.
pub(crate) async fn load_all(db: &Db) -> Result<Vec<StoredPlan>, Error> {
    let rows = sqlx::query!("SELECT id, hash, body FROM plan ORDER BY id")
        .fetch_all(db.pool())
        .await?;
    let stored = rows.into_iter().filter_map(|row| {
        // a newer release's plan, perhaps: its sagas are cases, the others go on
        let plan = serde_json::from_slice(&row.body).inspect_err(
            |error| tracing::error!(plan = row.id, %error, "a stored plan cannot be read"),
        );
        Some(StoredPlan::new(row.id, row.hash, plan.ok()?))
    });
    Ok(stored.collect())
}
