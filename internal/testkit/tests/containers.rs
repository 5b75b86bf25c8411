//! The migrations on a PostgreSQL that others have packaged, in a container.
//!
//! `cargo test -p palinode-testkit --features containers`; `PALINODE_TEST_POSTGRES_IMAGE` names
//! another image. It must take `POSTGRES_PASSWORD`, as the official one does.

use std::time::Duration;

use palinode_db::Area;
use palinode_testkit::eventually;
use sqlx::{Connection, PgConnection, Row};
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{GenericImage, ImageExt};

const DEFAULT_IMAGE: &str = "postgres:18-alpine";
const PASSWORD: &str = "not-a-secret";

#[tokio::test]
async fn an_area_is_migrated_in_a_container() {
    let image = std::env::var_os("PALINODE_TEST_POSTGRES_IMAGE");
    let image = image.map_or(DEFAULT_IMAGE.to_owned(), |image| {
        image.into_string().unwrap()
    });
    let (name, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
    let container = GenericImage::new(name, tag)
        .with_exposed_port(5432.tcp())
        .with_env_var("POSTGRES_PASSWORD", PASSWORD)
        .start()
        .await
        .unwrap();
    let host = container.get_host().await.unwrap();
    let port = container.get_host_port_ipv4(5432).await.unwrap();
    let url = format!("postgres://postgres:{PASSWORD}@{host}:{port}/postgres");
    // The image's first server, which sets up the data, takes no connections from outside.
    let limit = Duration::from_secs(60);
    let mut connection = eventually(limit, "the container's server answers", async || {
        PgConnection::connect(&url).await.ok()
    })
    .await;

    palinode_db::migrate(&url, Area::Order).await.unwrap();

    let sql = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
    let rows = sqlx::Executor::fetch_all(&mut connection, sql)
        .await
        .unwrap();
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    for table in ["outbox", "outbox_topic"] {
        assert!(
            tables.iter().any(|name| name == table),
            "{table} is missing among {tables:?}"
        );
    }
}
