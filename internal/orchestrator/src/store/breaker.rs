use std::time::Duration;

use palinode_db::{Db, Error};
use palinode_values::{SagaId, Timestamp};

use crate::runner::breaker::Breaker;

/// A breaker as the table has it.
#[derive(Debug, Clone)]
pub(crate) struct BreakerRow {
    pub(crate) breaker: Breaker,
    pub(crate) is_open: bool,
    pub(crate) since: Timestamp,
    pub(crate) why: String,
    /// Who opened or closed it by hand.
    pub(crate) principal: Option<String>,
    pub(crate) trial_at: Option<Timestamp>,
    /// Whether it holds a saga.
    pub(crate) holds: bool,
}

/// Every breaker that was ever open. They are few: two a participant.
pub(crate) async fn all(db: &Db) -> Result<Vec<BreakerRow>, Error> {
    let rows = sqlx::query!(
        r#"SELECT participant, direction, state, since, why, principal, trial_at,
                  EXISTS (SELECT FROM saga s
                           WHERE s.held_by = participant || '/' || direction) AS "holds!"
             FROM breaker ORDER BY participant, direction"#
    )
    .fetch_all(db.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            let direction = row.direction.parse();
            let direction = direction
                .map_err(|e| Error::inconsistent("breaker", "direction", &row.participant, e))?;
            Ok(BreakerRow {
                breaker: Breaker {
                    participant: row.participant,
                    direction,
                },
                is_open: row.state == "open",
                since: row.since,
                why: row.why,
                principal: row.principal,
                trial_at: row.trial_at,
                holds: row.holds,
            })
        })
        .collect()
}

/// Opens a breaker that is closed; false when it was open already.
pub(crate) async fn trip(
    db: &Db,
    breaker: &Breaker,
    why: &str,
    trial_every: Duration,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "INSERT INTO breaker AS b (participant, direction, state, why, trial_at)
         VALUES ($1, $2, 'open', $3, now() + make_interval(secs => $4))
             ON CONFLICT (participant, direction) DO UPDATE
            SET state = 'open', since = now(), why = $3, principal = NULL,
                trial_at = now() + make_interval(secs => $4)
          WHERE b.state = 'closed'",
        breaker.participant,
        breaker.direction.as_str(),
        why,
        trial_every.as_secs_f64()
    )
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Closes a breaker that has opened by itself before a verdict was `heard`.
pub(crate) async fn recover(db: &Db, breaker: &Breaker, heard: Timestamp) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE breaker SET state = 'closed', since = now(), why = 'a verdict came', trial_at = NULL
          WHERE participant = $1 AND direction = $2 AND state = 'open' AND principal IS NULL
            AND since < $3",
        breaker.participant,
        breaker.direction.as_str(),
        heard
    )
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Opens or closes a breaker by hand: one that is opened so has no trials, and no verdict closes it.
pub(crate) async fn set(
    db: &Db,
    breaker: &Breaker,
    is_open: bool,
    why: &str,
    principal: &str,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO breaker (participant, direction, state, why, principal)
         VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (participant, direction) DO UPDATE
            SET state = $3, since = now(), why = $4, principal = $5, trial_at = NULL",
        breaker.participant,
        breaker.direction.as_str(),
        if is_open { "open" } else { "closed" },
        why,
        principal
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Takes the trial that is due, so that one process makes it; false when none is.
pub(crate) async fn take_trial(db: &Db, breaker: &Breaker, every: Duration) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE breaker -- the longer it lasts, the rarer
            SET trial_at = now() + greatest(make_interval(secs => $3),
                                            least((now() - since) / 4, interval '30 s'))
          WHERE participant = $1 AND direction = $2 AND state = 'open' AND trial_at <= now()",
        breaker.participant,
        breaker.direction.as_str(),
        every.as_secs_f64()
    )
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Sagas that a breaker holds, at most `limit`, those that go back first, then the oldest.
pub(crate) async fn held(db: &Db, breaker: &Breaker, limit: i64) -> Result<Vec<SagaId>, Error> {
    let rows = sqlx::query_scalar!(
        "SELECT id FROM saga WHERE held_by = $1
          ORDER BY state, id LIMIT $2 -- 'compensating' comes before 'running'",
        breaker.to_string(),
        limit
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(SagaId).collect())
}

/// Sagas to be tried, at most `limit`: those that go back first, then the newest, whose budgets
/// are the least used up.
pub(crate) async fn newest_held(
    db: &Db,
    breaker: &Breaker,
    limit: i64,
) -> Result<Vec<SagaId>, Error> {
    let rows = sqlx::query_scalar!(
        "SELECT id FROM saga WHERE held_by = $1 ORDER BY state, id DESC LIMIT $2",
        breaker.to_string(),
        limit
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(SagaId).collect())
}

/// How many sagas each breaker holds, by its name.
pub(crate) async fn held_counts(db: &Db) -> Result<Vec<(String, i64)>, Error> {
    let rows = sqlx::query!(
        r#"SELECT held_by AS "held_by!", count(*) AS "count!"
             FROM saga WHERE held_by IS NOT NULL GROUP BY held_by"#
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.held_by, row.count))
        .collect())
}
