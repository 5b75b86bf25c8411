use anyhow::Context;
use futures_util::future::try_join_all;
use palinode_db::{Area, Db, Options};
use palinode_messaging::{BrokerKind, Kafka, Topic, create_topics, partitions};
use palinode_service::DatabaseUrl;
use palinode_testkit::database::{create_databases, with_database};

/// The address of a server, without the name of a database; parameters stay.
#[must_use]
pub fn server_of(url: &str) -> String {
    with_database(url, "")
        .replacen("/?", "?", 1)
        .trim_end_matches('/')
        .to_owned()
}

/// The address of the database of `area` on a server.
pub(crate) fn database_of(server: &str, area: Area) -> String {
    with_database(server, &area.database())
}

/// Creates the database of each area on the server, unless it is there, and brings it up to date;
/// creates the topics that are missing, and writes their dictionary into each outbox.
///
/// Shape: `server` names no database; `new_topic_partitions` divides 64.
///
/// # Errors
/// The server or Kafka does not answer, or a migration fails; what is done is kept, and the
/// whole may be run again.
pub async fn migrate(server: &str, kafka: &Kafka, new_topic_partitions: i32) -> anyhow::Result<()> {
    let topics = async {
        if kafka.broker == BrokerKind::Real {
            create_topics(kafka, new_topic_partitions, 1).await?;
        }
        anyhow::Ok(partitions(kafka).await?)
    };
    let (topics, ()) = tokio::try_join!(topics, migrate_databases(server))?;
    let topics: Vec<_> = topics
        .into_iter()
        .map(|(topic, count)| (topic, kafka.topic_name(topic), count))
        .collect();
    let outboxes = Area::ALL.into_iter().filter(|area| area.has_outbox());
    try_join_all(outboxes.map(|area| fill_topics(server, area, &topics))).await?;
    Ok(())
}

async fn migrate_databases(server: &str) -> anyhow::Result<()> {
    let shown: DatabaseUrl = server.parse()?; // without its password
    let admin = with_database(server, "postgres");
    let databases = create_databases(&admin, "palinode_")
        .await
        .with_context(|| format!("no databases can be made: does PostgreSQL run at {shown}?"))?;
    let migrations = databases
        .iter()
        .map(|(area, url)| palinode_db::migrate(url, *area));
    try_join_all(migrations).await?;
    Ok(())
}

async fn fill_topics(
    server: &str,
    area: Area,
    topics: &[(Topic, String, i32)],
) -> anyhow::Result<()> {
    let db = connect(server, area).await?;
    let filled = palinode_outbox::fill_topics(&db, topics).await;
    db.close().await;
    filled.with_context(|| format!("the topics of {}", area.name()))
}

/// Connects to the database of `area` for a few statements.
pub(crate) async fn connect(server: &str, area: Area) -> anyhow::Result<Db> {
    let options = Options {
        url: database_of(server, area),
        service: "lab".to_owned(),
        connections_max: 2,
    };
    Db::connect(&options)
        .await
        .with_context(|| format!("the database of {}", area.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_no_database_name() {
        for (url, server) in [
            ("postgres://u:p@h:5432", "postgres://u:p@h:5432"),
            ("postgres://u:p@h:5432/", "postgres://u:p@h:5432"),
            ("postgres://u:p@h:5432/postgres", "postgres://u:p@h:5432"),
            (
                "postgres://h/x?sslmode=disable",
                "postgres://h?sslmode=disable",
            ),
        ] {
            assert_eq!(server_of(url), server, "{url}");
        }
    }
}
