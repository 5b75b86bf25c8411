use std::collections::HashMap;

use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_messaging::Received;
use palinode_saga::Direction;
use palinode_saga::guard::{Act, Comp, Row};
use palinode_values::{SagaId, Timestamp};
use uuid::Uuid;

use crate::row::Held;

/// Keeps records that a consumer cannot handle, each with the reason, in the open transaction.
/// A record that is parked already stays as it is.
///
/// # Errors
/// Those of the database.
pub async fn park(tx: &mut Tx, parked: &[(&Received, String)]) -> Result<(), Error> {
    if parked.is_empty() {
        return Ok(());
    }
    let topics: Vec<_> = parked.iter().map(|(r, _)| r.topic.to_string()).collect();
    let partitions: Vec<_> = parked.iter().map(|(r, _)| r.partition).collect();
    let offsets: Vec<_> = parked.iter().map(|(r, _)| r.offset).collect();
    let keys: Vec<_> = parked.iter().map(|(r, _)| r.key.to_vec()).collect();
    let headers: Vec<_> = parked.iter().map(|(r, _)| r.headers.encode().to_vec()).collect();
    let payloads: Vec<_> = parked.iter().map(|(r, _)| r.body.to_vec()).collect();
    let errors: Vec<_> = parked
        .iter()
        .map(|(_, error)| error.replace('\0', ""))
        .collect();
    sqlx::query!(
        "INSERT INTO consumer_parked (topic, partition, record_offset, key, headers, payload, error)
         SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bytea[], $5::bytea[],
                              $6::bytea[], $7::text[])
         ON CONFLICT DO NOTHING",
        &topics,
        &partitions,
        &offsets,
        &keys,
        &headers,
        &payloads,
        &errors,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Locks the rows of `keys`, and makes those that are missing.
///
/// Shape: `keys` are distinct and not empty; one row comes back for each, in the order of `keys`,
/// and the database's time. Of an `expired` key the row is a blank, neither made nor locked. The
/// caller holds no row yet of the tables that a handler locks.
///
/// New rows first, then the ones that are there, each in key order: who waits for a new row holds
/// none that was there before, so two batches cannot wait for each other.
pub(crate) async fn lock(
    tx: &mut Tx,
    keys: &[(SagaId, &str)],
    expired: &[bool],
) -> Result<(Vec<Held>, Times), Error> {
    let kept = keys.iter().zip(expired).filter(|(_, expired)| !**expired);
    let kept: Vec<_> = kept.map(|(key, _)| *key).collect();
    if kept.is_empty() {
        let blanks = keys
            .iter()
            .map(|(saga, step)| Held::new(*saga, (*step).to_owned()));
        return Ok((blanks.collect(), times(tx).await?));
    }
    let (sagas, steps) = columns(&kept);
    let made = sqlx::query!(
        r#"INSERT INTO saga_guard (saga_id, step, act, comp)
           SELECT k.saga_id, k.step, 'none', 'none'
             FROM unnest($1::uuid[], $2::text[]) AS k(saga_id, step)
            ORDER BY k.saga_id, k.step
               ON CONFLICT DO NOTHING
        RETURNING saga_id, step, now() AS "now!",
                  (SELECT greatest(oldest, now() - keep) FROM retention
                    WHERE parent = 'saga_guard') AS "oldest!""#,
        &sagas,
        &steps as &[&str],
    )
    .fetch_all(tx.conn())
    .await?;
    let mut times = made.first().map(|row| Times {
        now: row.now,
        oldest: row.oldest,
    });
    let mut rows: HashMap<(SagaId, String), Held> = HashMap::with_capacity(keys.len());
    for row in made {
        let (saga, step) = (SagaId(row.saga_id), row.step);
        rows.insert((saga, step.clone()), Held::new(saga, step));
    }
    let key = |&(saga, step): &(SagaId, &str)| (saga, step.to_owned());
    let there: Vec<_> = kept
        .iter()
        .filter(|k| !rows.contains_key(&key(k)))
        .copied()
        .collect();
    if !there.is_empty() {
        let (found, read_at) = find(tx, &there).await?;
        times = times.or(read_at);
        rows.extend(
            found
                .into_iter()
                .map(|row| ((row.saga_id, row.step.clone()), row)),
        );
    }
    let missing = || Error::inconsistent("saga_guard", "saga_id", "batch", "a row was not locked");
    let locked = keys.iter().zip(expired).map(|(k, expired)| match expired {
        true => Ok(Held::new(k.0, k.1.to_owned())),
        false => rows.remove(&key(k)).ok_or_else(missing),
    });
    Ok((
        locked.collect::<Result<_, _>>()?,
        times.ok_or_else(missing)?,
    ))
}

/// The database's time, and what is too old for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) now: Timestamp,
    /// When the oldest saga has started whose rows are certainly there.
    pub(crate) oldest: Timestamp,
}

pub(crate) async fn times(tx: &mut Tx) -> Result<Times, Error> {
    let times = sqlx::query_as!(
        Times,
        r#"SELECT now() AS "now!", greatest(oldest, now() - keep) AS "oldest!"
             FROM retention WHERE parent = 'saga_guard'"#
    );
    Ok(times.fetch_one(tx.conn()).await?)
}

/// Locks the rows of `keys` that are there; they come back in key order.
pub(crate) async fn lock_existing(
    tx: &mut Tx,
    keys: &[(SagaId, &str)],
) -> Result<Vec<Held>, Error> {
    Ok(find(tx, keys).await?.0)
}

async fn find(tx: &mut Tx, keys: &[(SagaId, &str)]) -> Result<(Vec<Held>, Option<Times>), Error> {
    let (sagas, steps) = columns(keys);
    let (least, greatest) = bounds(&sagas);
    let found = sqlx::query_as!(
        Found,
        r#"SELECT g.saga_id, g.step, g.act, g.act_hash, g.act_result, g.comp, g.comp_result,
                  g.pending_until, now() AS "now!",
                  (SELECT greatest(oldest, now() - keep) FROM retention
                    WHERE parent = 'saga_guard') AS "oldest!"
             FROM unnest($1::uuid[], $2::text[]) AS k(saga_id, step)
             JOIN saga_guard g ON g.saga_id = k.saga_id AND g.step = k.step
            WHERE g.saga_id BETWEEN $3 AND $4 -- prunes the other days
            ORDER BY g.saga_id, g.step
              FOR UPDATE OF g"#,
        &sagas,
        &steps as &[&str],
        least,
        greatest,
    )
    .fetch_all(tx.conn())
    .await?;
    let times = found.first().map(|row| Times {
        now: row.now,
        oldest: row.oldest,
    });
    let rows = found
        .into_iter()
        .map(Held::try_from)
        .collect::<Result<_, _>>()?;
    Ok((rows, times))
}

/// Writes back the rows that were changed.
///
/// Shape: rows that this transaction holds, each once.
pub(crate) async fn write(tx: &mut Tx, rows: &[Held]) -> Result<(), Error> {
    let changed: Vec<&Held> = rows.iter().filter(|row| row.changed).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let bytes = |field: fn(&Held) -> &Option<Bytes>| -> Vec<Option<Vec<u8>>> {
        changed
            .iter()
            .map(|row| field(row).as_ref().map(|bytes| bytes.to_vec()))
            .collect()
    };
    let sagas: Vec<_> = changed.iter().map(|row| row.saga_id.0).collect();
    let (least, greatest) = bounds(&sagas);
    let steps: Vec<_> = changed.iter().map(|row| row.step.as_str()).collect();
    let acts: Vec<_> = changed.iter().map(|row| act_name(row.row.act)).collect();
    let hashes: Vec<_> = changed.iter().map(|row| row.act_hash.clone()).collect();
    let comps: Vec<_> = changed.iter().map(|row| comp_name(row.row.comp)).collect();
    let until: Vec<_> = changed.iter().map(|row| row.pending_until).collect();
    let written = sqlx::query!(
        "UPDATE saga_guard g
            SET act = n.act, act_hash = n.act_hash, act_result = n.act_result, comp = n.comp,
                comp_result = n.comp_result, pending_until = n.pending_until, updated_at = now()
           FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::text[],
                       $7::bytea[], $8::timestamptz[])
             AS n(saga_id, step, act, act_hash, act_result, comp, comp_result, pending_until)
          WHERE g.saga_id = n.saga_id AND g.step = n.step AND g.saga_id BETWEEN $9 AND $10",
        &sagas,
        &steps as &[&str],
        &acts as &[&str],
        &hashes as &[Option<Vec<u8>>],
        &bytes(|row| &row.act_result) as &[Option<Vec<u8>>],
        &comps as &[&str],
        &bytes(|row| &row.comp_result) as &[Option<Vec<u8>>],
        &until as &[Option<Timestamp>],
        least,
        greatest,
    )
    .execute(tx.conn())
    .await?;
    if written.rows_affected() != changed.len() as u64 {
        return Err(Error::inconsistent(
            "saga_guard",
            "saga_id",
            "batch",
            "a held row is gone",
        ));
    }
    Ok(())
}

struct Found {
    saga_id: Uuid,
    step: String,
    act: String,
    act_hash: Option<Vec<u8>>,
    act_result: Option<Vec<u8>>,
    comp: String,
    comp_result: Option<Vec<u8>>,
    pending_until: Option<Timestamp>,
    now: Timestamp,
    oldest: Timestamp,
}

impl TryFrom<Found> for Held {
    type Error = Error;

    fn try_from(found: Found) -> Result<Self, Error> {
        let mut held = Self {
            saga_id: SagaId(found.saga_id),
            step: found.step,
            row: Row::NEW,
            act_hash: found.act_hash,
            act_result: found.act_result.map(Bytes::from),
            comp_result: found.comp_result.map(Bytes::from),
            pending_until: found.pending_until,
            changed: false,
        };
        let act = match found.act.as_str() {
            "none" => Act::None,
            "pending" => Act::Pending(held.owed(Direction::Forward)?.how),
            "done" => Act::Done,
            "failed" => Act::Failed,
            "closed" => Act::Closed,
            other => return Err(held.inconsistent("act", other)),
        };
        let comp = match found.comp.as_str() {
            "none" => Comp::None,
            "pending" => Comp::Pending,
            "done" => Comp::Done,
            "closed" => Comp::Closed,
            other => return Err(held.inconsistent("comp", other)),
        };
        held.row = Row { act, comp };
        Ok(held)
    }
}

fn act_name(act: Act) -> &'static str {
    match act {
        Act::None => "none",
        Act::Pending(_) => "pending",
        Act::Done => "done",
        Act::Failed => "failed",
        Act::Closed => "closed",
    }
}

fn comp_name(comp: Comp) -> &'static str {
    match comp {
        Comp::None => "none",
        Comp::Pending => "pending",
        Comp::Done => "done",
        Comp::Closed => "closed",
    }
}

/// The least and the greatest of them.
fn bounds(sagas: &[Uuid]) -> (Uuid, Uuid) {
    let least = sagas.iter().min().copied().unwrap_or_default();
    (least, sagas.iter().max().copied().unwrap_or_default())
}

fn columns<'a>(keys: &[(SagaId, &'a str)]) -> (Vec<Uuid>, Vec<&'a str>) {
    keys.iter().map(|(saga, step)| (saga.0, *step)).unzip()
}
