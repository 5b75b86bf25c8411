//! Databases for tests, on the shared cluster.

use std::time::Duration;

use palinode_db::Area;
use palinode_testkit::database::{TestDatabase, create_databases, test_database, with_database};
use palinode_testkit::eventually;
use sqlx::{Connection, Executor, PgConnection, Row};

async fn tables(database: &TestDatabase) -> i64 {
    let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    database
        .connect()
        .await
        .fetch_one(sql)
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn each_test_has_a_migrated_database_of_its_own() {
    let first = test_database(Area::Order).await;
    let second = test_database(Area::Order).await;
    assert_ne!(first.name, second.name);
    assert!(tables(&first).await > 0, "the schema is there");
    let before = tables(&second).await;
    first
        .connect()
        .await
        .execute("CREATE TABLE mine (id int)")
        .await
        .unwrap();
    assert_eq!(
        tables(&second).await,
        before,
        "what one test writes, the other does not see"
    );
}

#[test]
fn the_cluster_outlives_the_runtime_of_the_first_test() {
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let database = test_database(Area::Inventory).await;
            database.connect().await.ping().await.unwrap();
        });
    }
}

#[tokio::test]
async fn databases_are_created_once_for_each_area() {
    let server = test_database(Area::Shipping).await;
    let admin_url = with_database(&server.url, "postgres");
    let first = create_databases(&admin_url, "twice_").await.unwrap();
    assert_eq!(
        first.iter().map(|(area, _)| *area).collect::<Vec<_>>(),
        Area::ALL
    );
    for (area, url) in &first {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let name: String = connection
            .fetch_one("SELECT current_database()")
            .await
            .unwrap()
            .get(0);
        assert_eq!(name, format!("twice_{}", area.name()));
    }
    assert_eq!(create_databases(&admin_url, "twice_").await.unwrap(), first);
}

#[tokio::test]
async fn a_database_goes_with_its_test() {
    let gone = test_database(Area::Order).await;
    let stays = test_database(Area::Order).await;
    let name = gone.name.clone();
    drop(gone);
    let mut connection = stays.connect().await;
    eventually(
        Duration::from_secs(10),
        "the database is dropped",
        async || {
            let sql = "SELECT datname::text FROM pg_database";
            let rows = connection.fetch_all(sql).await.unwrap();
            let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            assert!(names.contains(&stays.name));
            (!names.contains(&name)).then_some(())
        },
    )
    .await;
}
