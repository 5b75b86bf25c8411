use palinode_db::{Area, Db, Options};
use palinode_messaging::{TOPICS, Topic};
use palinode_outbox::{Error, fill_topics, require_topics, topics};
use palinode_testkit::database::test_database;

fn all(prefix: &str, partitions: i32) -> Vec<(Topic, String, i32)> {
    TOPICS
        .iter()
        .map(|spec| (spec.topic, spec.topic.name(prefix), partitions))
        .collect()
}

#[tokio::test]
async fn the_dictionary_is_that_of_the_last_migration() {
    let database = test_database(Area::Order).await;
    let options = Options {
        url: database.url.clone(),
        service: "test".to_owned(),
        connections_max: 2,
    };
    let db = Db::connect(&options).await.unwrap();
    let missing = require_topics(&db, "one").await;
    assert!(
        matches!(&missing, Err(Error::MissingTopics(names)) if names.len() == TOPICS.len()),
        "{missing:?}"
    );
    fill_topics(&db, &all("one", 1)).await.unwrap();
    require_topics(&db, "one").await.unwrap();
    fill_topics(&db, &all("two", 8)).await.unwrap();
    require_topics(&db, "two").await.unwrap();
    assert!(require_topics(&db, "one").await.is_err());
    let rows = topics(&db).await.unwrap();
    assert!(rows.iter().all(|row| row.partitions == 8), "{rows:?}");

    let odd = fill_topics(&db, &all("two", 6)).await;
    assert!(matches!(odd, Err(Error::Partitions { .. })), "{odd:?}");
}
