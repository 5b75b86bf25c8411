//! Servers that crash and come back, with what they have made durable.

use palinode_db::Area;
use palinode_relay::Mode;
use palinode_testkit::database::create_databases;
use palinode_testkit::kafka::{self, Broker};
use palinode_testkit::postgres::{Cluster, Options, Source};
use palinode_testkit::{eventually, skipped};
use rustix::process::{Pid, Signal};

use crate::stack::{LIMIT, Stack, real_kafka};

const KEYS: usize = 40;
const OF_A_KEY: usize = 500;

impl Stack {
    async fn write_backlog(&self) {
        let bodies = vec![b"body".as_slice(); OF_A_KEY];
        for key in 0..KEYS {
            self.write(&format!("key-{key}"), &bodies).await;
        }
    }
}

async fn postgresql_crashes(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let options = |port| Options {
        source: Source::from_env(),
        data_dir: Some(folder.path().join("data")),
        port,
        ..Options::default()
    };
    let cluster = Cluster::start(options(None)).await.unwrap();
    let databases = create_databases(&cluster.admin_url(), "").await.unwrap();
    let of_order = databases.into_iter().find(|(area, _)| *area == Area::Order);
    let (area, url) = of_order.unwrap();
    palinode_db::migrate(&url, area).await.unwrap();
    let mut stack = Stack::on_database(url.clone(), 2)
        .await
        .into_mode(mode)
        .await;
    stack.write_backlog().await;

    let mut relay = stack.relay();
    relay
        .until("it publishes", |status| status.published > 0)
        .await;
    // immediately: no checkpoint, no goodbye
    let server = i32::try_from(cluster.pid()).ok().and_then(Pid::from_raw);
    rustix::process::kill_process(server.unwrap(), Signal::QUIT).unwrap();
    relay.until("it notices", |status| !status.database).await;
    let port = cluster.port();
    cluster.stop().await;
    let cluster = Cluster::start(options(Some(port))).await.unwrap();
    assert_eq!(cluster.url("order"), url);
    relay.until("it goes on", |status| status.database).await;
    eventually(LIMIT, "writers reach it", async || {
        stack.db.ping().await.ok()
    })
    .await;
    stack.write_backlog().await;

    let sum = stack.check().await;
    assert_eq!(sum.committed, 2 * KEYS * OF_A_KEY);
    assert!(sum.repeats < sum.committed / 2, "{sum:?}");
    relay.stop().await;
    stack.end().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_crashes_loses_nothing() {
    postgresql_crashes(Mode::Queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_crashes_loses_nothing_of_a_log() {
    postgresql_crashes(Mode::Log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_that_crashes_loses_nothing() {
    if real_kafka().is_none() {
        skipped(
            "restarts::a_kafka_that_crashes_loses_nothing",
            "there is no Kafka to be had",
        );
        return;
    }
    let mut broker = Broker::start(kafka::Options::default()).await.unwrap();
    let mut stack = Stack::on_broker(&broker, 2).await;
    stack.write_backlog().await;
    let mut relay = stack.relay();
    relay
        .until("it publishes", |status| status.published > 0)
        .await;
    broker.kill();
    stack.write("after it", &[b"x"]).await; // the backlog may be acknowledged already
    relay
        .until("the circuit is open", |status| !status.broker)
        .await;
    assert_eq!(relay.status[0].borrow().lanes, 64);
    broker.restart().await.unwrap();
    stack.write_backlog().await;
    relay
        .until("it is closed again", |status| status.broker)
        .await;

    let sum = stack.check().await;
    assert_eq!(sum.committed, 2 * KEYS * OF_A_KEY + 1);
    assert!(sum.repeats < sum.committed / 2, "{sum:?}");
    relay.stop().await;
    stack.end().await;
    broker.stop().await;
}
