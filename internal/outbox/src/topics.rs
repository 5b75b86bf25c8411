use palinode_db::Db;
use palinode_messaging::{LANES, TOPICS, Topic};

use crate::Error;

/// A line of the dictionary of topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRow {
    /// Its number in outbox rows.
    pub number: i16,
    /// Its name on Kafka, with the prefix.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
}

/// Writes the dictionary of topics; part of the migration. Topics: what it is, its name on Kafka,
/// its number of partitions.
///
/// A number of partitions that changes while rows wait may reorder their keys: drain first.
///
/// # Errors
/// `Partitions`: a number does not divide 64. `Db`.
pub async fn fill_topics(db: &Db, topics: &[(Topic, String, i32)]) -> Result<(), Error> {
    for (_, name, partitions) in topics {
        if *partitions < 1 || i32::from(LANES) % partitions != 0 {
            return Err(Error::Partitions {
                name: name.clone(),
                partitions: *partitions,
            });
        }
    }
    let numbers: Vec<i16> = topics.iter().map(|(topic, ..)| topic.number()).collect();
    let names: Vec<String> = topics.iter().map(|(_, name, _)| name.clone()).collect();
    let partitions: Vec<i32> = topics.iter().map(|(.., count)| *count).collect();
    sqlx::query!(
        "INSERT INTO outbox_topic (id, name, partitions)
         SELECT * FROM unnest($1::smallint[], $2::text[], $3::int[])
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, partitions = excluded.partitions
          WHERE (outbox_topic.name, outbox_topic.partitions)
                IS DISTINCT FROM (excluded.name, excluded.partitions)",
        &numbers,
        &names,
        &partitions,
    )
    .execute(db.pool())
    .await
    .map_err(palinode_db::Error::from)?;
    Ok(())
}

/// The dictionary of topics.
///
/// # Errors
/// `Db`.
pub async fn topics(db: &Db) -> Result<Vec<TopicRow>, palinode_db::Error> {
    let rows = sqlx::query_as!(
        TopicRow,
        "SELECT id AS number, name, partitions FROM outbox_topic ORDER BY id"
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows)
}

/// Refuses a database whose dictionary of topics is not that of `prefix`.
///
/// # Errors
/// `MissingTopics`: names them. `Db`.
pub async fn require_topics(db: &Db, prefix: &str) -> Result<(), Error> {
    let present = topics(db).await?;
    let missing: Vec<_> = TOPICS
        .iter()
        .map(|spec| (spec.topic.number(), spec.topic.name(prefix)))
        .filter(|(number, name)| {
            !present
                .iter()
                .any(|row| row.number == *number && row.name == *name)
        })
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Error::MissingTopics(missing))
    }
}
