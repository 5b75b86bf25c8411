//! How far the orders of a demo are: by SQL on a stack of our own, by REST on a running one.
#![expect(
    clippy::disallowed_methods,
    reason = "the lab reads every service's database; no area's schema is its own"
)]

use anyhow::Context;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use palinode_db::{Area, Db};
use serde_json::Value as Json;
use sqlx::Row;
use uuid::Uuid;

use crate::gateway::Gateway;
use crate::prepare::connect;

/// Calls at once when orders are asked for one by one.
const CALLS_MAX: usize = 16;

/// How many orders are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) completed: u32,
    pub(crate) compensated: u32,
    pub(crate) needs_attention: u32,
    /// Orders that their saga has not decided.
    pub(crate) pending: u32,
    /// Records that wait in outboxes.
    pub(crate) unpublished: u32,
    /// Calls to the card processor that are owed.
    pub(crate) owed: u32,
}

/// How long orders took, from their row's making to their decision.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pace {
    pub(crate) sagas_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Looks on.
pub(crate) enum Eyes {
    Sql {
        order: Db,
        saga: Db,
        outboxes: Vec<Db>,
        payment: Db,
    },
    Rest {
        gateway: Box<Gateway>,
        /// Decided orders: whether confirmed, and when.
        decided: Vec<(bool, DateTime<Utc>, DateTime<Utc>)>,
        asked: usize,
        waiting: Vec<Uuid>,
    },
}

impl Eyes {
    pub(crate) async fn sql(server: &str) -> anyhow::Result<Self> {
        let mut outboxes = Vec::new();
        for area in Area::ALL.into_iter().filter(|area| area.has_outbox()) {
            outboxes.push(connect(server, area).await?);
        }
        Ok(Self::Sql {
            order: connect(server, Area::Order).await?,
            saga: connect(server, Area::Saga).await?,
            payment: connect(server, Area::Payment).await?,
            outboxes,
        })
    }

    pub(crate) fn rest(gateway: Gateway) -> Self {
        Self::Rest {
            gateway: Box::new(gateway),
            decided: Vec::new(),
            asked: 0,
            waiting: Vec::new(),
        }
    }

    /// Looks. `ids` are the orders that were placed so far; it only ever grows.
    pub(crate) async fn look(&mut self, ids: &[Uuid]) -> anyhow::Result<Tally> {
        match self {
            Self::Sql {
                order,
                saga,
                outboxes,
                payment,
            } => {
                let sagas = sqlx::query(
                    "SELECT count(*) FILTER (WHERE state = 'completed'),
                            count(*) FILTER (WHERE state = 'compensated'),
                            count(*) FILTER (WHERE state = 'needs-attention') FROM saga",
                )
                .fetch_one(saga.pool())
                .await?;
                let mut unpublished = 0;
                for outbox in outboxes {
                    unpublished += count(outbox, "SELECT outbox_pending()").await?;
                }
                let pending = "SELECT count(*) FROM orders WHERE status = 'pending'";
                Ok(Tally {
                    completed: u32::try_from(sagas.try_get::<i64, _>(0)?)?,
                    compensated: u32::try_from(sagas.try_get::<i64, _>(1)?)?,
                    needs_attention: u32::try_from(sagas.try_get::<i64, _>(2)?)?,
                    pending: count(order, pending).await?,
                    unpublished,
                    owed: count(payment, "SELECT count(*) FROM card_intent").await?,
                })
            }
            Self::Rest {
                gateway,
                decided,
                asked,
                waiting,
            } => {
                waiting.extend_from_slice(&ids[*asked..]);
                *asked = ids.len();
                let gateway = &*gateway;
                let answers: Vec<(Uuid, Json)> = stream::iter(std::mem::take(waiting))
                    .map(|id| async move {
                        let answer = gateway.get(&format!("/v1/orders/{id}")).await?;
                        anyhow::Ok((id, answer.success()?))
                    })
                    .buffer_unordered(CALLS_MAX)
                    .try_collect()
                    .await?;
                for (id, order) in answers {
                    match order["status"].as_str() {
                        Some("ORDER_STATUS_CONFIRMED") => decided.push(times(true, &order)?),
                        Some("ORDER_STATUS_REJECTED") => decided.push(times(false, &order)?),
                        _ => waiting.push(id),
                    }
                }
                let confirmed = decided.iter().filter(|(confirmed, ..)| *confirmed).count();
                Ok(Tally {
                    completed: u32::try_from(confirmed)?,
                    compensated: u32::try_from(decided.len() - confirmed)?,
                    pending: u32::try_from(waiting.len())?,
                    ..Tally::default()
                })
            }
        }
    }

    /// How long the decided orders took.
    pub(crate) async fn pace(&self) -> anyhow::Result<Pace> {
        match self {
            Self::Sql { order, .. } => {
                let row = sqlx::query(
                    "SELECT coalesce(count(*) / nullif(extract(epoch FROM max(updated_at) - min(created_at)), 0), 0)::float8,
                            coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM updated_at - created_at) * 1000), 0)::float8,
                            coalesce(percentile_disc(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM updated_at - created_at) * 1000), 0)::float8
                       FROM orders WHERE status <> 'pending'",
                )
                .fetch_one(order.pool())
                .await?;
                Ok(Pace {
                    sagas_per_s: row.try_get(0)?,
                    p50_ms: row.try_get(1)?,
                    p99_ms: row.try_get(2)?,
                })
            }
            Self::Rest { decided, .. } => Ok(pace_of(decided)),
        }
    }
}

async fn count(db: &Db, sql: &'static str) -> anyhow::Result<u32> {
    let row = sqlx::query(sql).fetch_one(db.pool()).await?;
    Ok(u32::try_from(row.try_get::<i64, _>(0)?)?)
}

fn times(confirmed: bool, order: &Json) -> anyhow::Result<(bool, DateTime<Utc>, DateTime<Utc>)> {
    let time = |field: &str| {
        let text = order[field]
            .as_str()
            .with_context(|| format!("an order without {field}"))?;
        anyhow::Ok(text.parse::<DateTime<Utc>>()?)
    };
    Ok((confirmed, time("createdAt")?, time("updatedAt")?))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn pace_of(decided: &[(bool, DateTime<Utc>, DateTime<Utc>)]) -> Pace {
    let (Some(first), Some(last)) = (
        decided.iter().map(|(_, created, _)| created).min(),
        decided.iter().map(|(_, _, updated)| updated).max(),
    ) else {
        return Pace::default();
    };
    let mut took: Vec<f64> = decided
        .iter()
        .map(|(_, created, updated)| (*updated - *created).as_seconds_f64() * 1000.0)
        .collect();
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    let seconds = (*last - *first).as_seconds_f64();
    Pace {
        sagas_per_s: if seconds > 0.0 {
            decided.len() as f64 / seconds
        } else {
            0.0
        },
        p50_ms: at(50),
        p99_ms: at(99),
    }
}
