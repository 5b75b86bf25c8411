use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use palinode_db::{Db, Error, Tx};
use palinode_messaging::Received;
use palinode_saga::Direction;
use palinode_saga::guard::{Act, Comp, Row};
use palinode_values::{SagaId, Timestamp};
use uuid::Uuid;

use crate::reply;
use crate::row::{Expected, Held};

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
    let headers: Vec<_> = parked
        .iter()
        .map(|(r, _)| r.headers.encode().to_vec())
        .collect();
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

/// The same for one record, in a transaction of its own.
pub(crate) async fn park_alone(
    db: &Db,
    name: &'static str,
    record: &Received,
    error: &str,
) -> Result<(), crate::error::Error> {
    let parked = [(record, error.to_owned())];
    db.run_tx(name, async |mut tx| {
        park(&mut tx, &parked).await?;
        Ok((tx, ()))
    })
    .await
}

/// How rows are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Rows that are expected to be missing are made, the others locked.
    Short,
    /// First every row that is missing is made.
    Long,
}

/// A row of the batch before it is locked.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) held: Held,
    pub(crate) at: Where,
}

/// Where the row of a key is supposed to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// Nowhere yet: its first command is the action.
    Missing,
    /// There, and its action done: its first command is the compensation.
    Done,
    /// There: something else came before.
    There,
    /// Gone with its day: it is neither made nor locked, and stays a blank.
    Gone,
}

/// Locks `rows`, and makes those that are missing with what is expected of them.
///
/// Shape: `rows` are distinct, not empty, in key order. The caller holds no row yet of the tables
/// that a handler locks. Returns what [`oldest`] does; `None`: a row that was to be there is not,
/// roll back and go the long way.
///
/// New rows first, then those to be undone, then the others that are there, each in key order: who
/// waits for a new row holds none that was there before, so two batches cannot wait for each other.
pub(crate) async fn lock(
    tx: &mut Tx,
    rows: &mut [Wanted],
    way: Way,
) -> Result<Option<Timestamp>, Error> {
    let is_made = |row: &Wanted| match row.at {
        Where::Missing => true,
        Where::Done | Where::There => way == Way::Long,
        Where::Gone => false,
    };
    let new: Vec<&Held> = rows
        .iter()
        .filter(|r| is_made(r))
        .map(|r| &r.held)
        .collect();
    let mut told = None;
    let mut made: Option<HashSet<(Uuid, String)>> = None;
    if !new.is_empty() {
        let Made { oldest, keys } = insert(tx, &new).await?;
        (told, made) = (Some(oldest), keys);
    }
    if way == Way::Short {
        told = told.or(undo(tx, rows).await?);
    }
    let is_there = |row: &&mut Wanted| match (row.at, &made) {
        (Where::Gone, _) => false,
        (Where::Done, _) if way == Way::Short => !row.held.is_undone_ahead(),
        (Where::There, _) if way == Way::Short => true,
        (_, None) => false,
        (_, Some(made)) => !made.contains(&(row.held.saga_id.0, row.held.step.clone())),
    };
    let there: Vec<&mut Wanted> = rows.iter_mut().filter(is_there).collect();
    if !there.is_empty() {
        let keys: Vec<_> = there
            .iter()
            .map(|r| (r.held.saga_id, r.held.step.as_str()))
            .collect();
        let (found, read_at) = find(tx, &keys).await?;
        told = told.or(read_at);
        let key = |held: &Held| (held.saga_id, held.step.clone());
        let mut found: HashMap<_, _> = found.into_iter().map(|held| (key(&held), held)).collect();
        for row in there {
            match found.remove(&key(&row.held)) {
                Some(held) => row.held = held,
                None if way == Way::Short => return Ok(None),
                None => {
                    let why = "a row was not locked";
                    return Err(Error::inconsistent("saga_guard", "saga_id", "batch", why));
                }
            }
        }
    }
    match told {
        Some(oldest) => Ok(Some(oldest)),
        None => oldest(tx).await.map(Some),
    }
}

/// What came of an insert.
struct Made {
    /// See [`oldest`].
    oldest: Timestamp,
    /// Which were made; `None`: all of them.
    keys: Option<HashSet<(Uuid, String)>>,
}

async fn insert(tx: &mut Tx, rows: &[&Held]) -> Result<Made, Error> {
    fn expected(row: &Held) -> Option<&Expected> {
        row.expected.as_deref()
    }
    let sagas: Vec<Uuid> = rows.iter().map(|row| row.saga_id.0).collect();
    let steps: Vec<&str> = rows.iter().map(|row| row.step.as_str()).collect();
    let acts: Vec<&str> = rows
        .iter()
        .map(|row| act_name(expected(row).map_or(Act::None, |e| e.act)))
        .collect();
    let hashes: Vec<Option<&[u8]>> = rows
        .iter()
        .map(|row| expected(row).map(|e| e.act_hash.as_slice()))
        .collect();
    let results: Vec<Option<&[u8]>> = rows
        .iter()
        .map(|row| expected(row).map(|e| e.act_result.as_ref()))
        .collect();
    let until: Vec<Option<Timestamp>> = rows
        .iter()
        .map(|row| expected(row).and_then(|e| e.pending_until))
        .collect();
    let made = sqlx::query_file!(
        "src/sql/guard_insert.sql",
        &sagas,
        &steps as &[&str],
        &acts as &[&str],
        &hashes as &[Option<&[u8]>],
        &results as &[Option<&[u8]>],
        &until as &[Option<Timestamp>],
    )
    .fetch_one(tx.conn())
    .await?;
    let keys = (made.count < i64::try_from(rows.len()).unwrap_or(i64::MAX)).then(|| {
        let sagas = made.sagas.unwrap_or_default();
        sagas
            .into_iter()
            .zip(made.steps.unwrap_or_default())
            .collect()
    });
    Ok(Made {
        oldest: made.oldest,
        keys,
    })
}

/// Writes of the rows whose action was done that it is undone, and takes over what they were.
async fn undo(tx: &mut Tx, rows: &mut [Wanted]) -> Result<Option<Timestamp>, Error> {
    let wanted: Vec<&mut Held> = rows
        .iter_mut()
        .filter(|row| row.at == Where::Done)
        .map(|row| &mut row.held)
        .collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let keys = wanted.iter().map(|held| (held.saga_id, held.step.as_str()));
    let keys: Vec<_> = keys.collect();
    let (sagas, steps) = columns(&keys);
    let (least, greatest) = bounds(&sagas);
    let undone = sqlx::query_file!(
        "src/sql/guard_undo.sql",
        &sagas,
        &steps as &[&str],
        &reply::undone()[..],
        least,
        greatest,
    )
    .fetch_all(tx.conn())
    .await?;
    let oldest = undone.first().map(|row| row.oldest);
    let mut undone: HashMap<_, _> = undone
        .into_iter()
        .map(|row| ((row.saga_id, row.step.clone()), row))
        .collect();
    for held in wanted {
        if let Some(row) = undone.remove(&(held.saga_id.0, held.step.clone())) {
            held.is_done(row.act_hash, row.act_result, row.pending_until)?;
        }
    }
    Ok(oldest)
}

/// When the oldest saga has started whose rows are certainly there.
pub(crate) async fn oldest(tx: &mut Tx) -> Result<Timestamp, Error> {
    let oldest = sqlx::query_scalar!(
        r#"SELECT greatest(oldest, now() - keep) AS "oldest!"
             FROM retention WHERE parent = 'saga_guard'"#
    );
    Ok(oldest.fetch_one(tx.conn()).await?)
}

/// Locks the rows of `keys` that are there; they come back in key order.
pub(crate) async fn lock_existing(
    tx: &mut Tx,
    keys: &[(SagaId, &str)],
) -> Result<Vec<Held>, Error> {
    Ok(find(tx, keys).await?.0)
}

async fn find(
    tx: &mut Tx,
    keys: &[(SagaId, &str)],
) -> Result<(Vec<Held>, Option<Timestamp>), Error> {
    let (sagas, steps) = columns(keys);
    let (least, greatest) = bounds(&sagas);
    let found = sqlx::query_file_as!(
        Found,
        "src/sql/guard_lock.sql",
        &sagas,
        &steps as &[&str],
        least,
        greatest,
    )
    .fetch_all(tx.conn())
    .await?;
    let oldest = found.first().map(|row| row.oldest);
    let rows = found
        .into_iter()
        .map(Held::try_from)
        .collect::<Result<_, _>>()?;
    Ok((rows, oldest))
}

/// Writes back the rows that stand otherwise in the database.
///
/// Shape: rows that this transaction holds, each once.
pub(crate) async fn write(tx: &mut Tx, rows: impl IntoIterator<Item = &Held>) -> Result<(), Error> {
    let changed: Vec<&Held> = rows
        .into_iter()
        .filter(|row| row.is_to_be_written())
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let acted: Vec<_> = changed
        .iter()
        .map(|row| row.act_result.as_deref())
        .collect();
    let compensated: Vec<_> = changed
        .iter()
        .map(|row| row.comp_result.as_deref())
        .collect();
    let sagas: Vec<_> = changed.iter().map(|row| row.saga_id.0).collect();
    let (least, greatest) = bounds(&sagas);
    let steps: Vec<_> = changed.iter().map(|row| row.step.as_str()).collect();
    let acts: Vec<_> = changed.iter().map(|row| act_name(row.row.act)).collect();
    let hashes: Vec<_> = changed
        .iter()
        .map(|row| row.act_hash.as_ref().map(<[u8; 32]>::as_slice))
        .collect();
    let comps: Vec<_> = changed.iter().map(|row| comp_name(row.row.comp)).collect();
    let until: Vec<_> = changed.iter().map(|row| row.pending_until).collect();
    let written = sqlx::query_file!(
        "src/sql/guard_update.sql",
        &sagas,
        &steps as &[&str],
        &acts as &[&str],
        &hashes as &[Option<&[u8]>],
        &acted as &[Option<&[u8]>],
        &comps as &[&str],
        &compensated as &[Option<&[u8]>],
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
    oldest: Timestamp,
}

impl TryFrom<Found> for Held {
    type Error = Error;

    fn try_from(found: Found) -> Result<Self, Error> {
        let mut held = Self::new(SagaId(found.saga_id), found.step);
        held.act_hash = held.hash(found.act_hash)?;
        held.act_result = found.act_result.map(Bytes::from);
        held.comp_result = found.comp_result.map(Bytes::from);
        held.pending_until = found.pending_until;
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
