use std::time::Duration;

use futures_util::future::join_all;
use palinode_lab::{Fleet, FleetOptions, seed, server_of};
use palinode_service::SERVICES;
use palinode_testkit::postgres::{Cluster, Options, Source};
use rustix::process::Signal;

use crate::kafka::{self, Broker};
use crate::shop::{Shop, order};
use crate::tool::{PROGRAM, SOON, Tool, run};

const STOP_LIMIT: Duration = Duration::from_secs(40);

#[tokio::test]
async fn services_refuse_a_server_that_is_not_migrated_and_run_on_one_that_is() {
    let cluster = Cluster::start(Options {
        source: Source::from_env(),
        ..Options::default()
    })
    .await
    .unwrap();
    let server = server_of(&cluster.admin_url());
    let broker = Broker::start("serve");
    let on_it = [
        "--database-url",
        &server,
        "--kafka",
        &broker.kafka.bootstrap,
    ];
    let serve = async |name: &str, prefix: &str| {
        let all = [&["serve", name, "--listen", "127.0.0.1:0"], &on_it[..]].concat();
        let all = [&all[..], &["--topic-prefix", prefix]].concat();
        run(&all).await.with(1)
    };
    let owners = || SERVICES.iter().filter(|spec| spec.name != "gateway");
    let prefix = &*broker.kafka.prefix;

    join_all(owners().map(async |spec| {
        serve(spec.name, prefix)
            .await
            .complains(&["`palinode migrate`"]);
    }))
    .await;

    let migrate = [&["migrate"], &on_it[..], &["--topic-prefix", prefix]].concat();
    for _ in 0..2 {
        let said = run(&migrate).await.with(0).stdout;
        assert_eq!(said, "databases and topics are up to date\n");
    }
    serve("order", "another")
        .await
        .complains(&["run `palinode migrate` with this topic prefix"]);

    seed::seed(&server).await.unwrap();
    let fleet = Fleet::start(FleetOptions {
        program: PROGRAM.into(),
        database_url: server.clone(),
        kafka: broker.kafka.clone(),
        gateway_port: None,
        logs: None,
        log: "info".to_owned(),
        otlp_endpoint: None,
    })
    .await
    .unwrap();
    let shop = Shop::at(&fleet.url());
    let placed = shop.place(&order("alice", "mug-blue")).await;
    let decided = shop.decided(&[placed]).await;
    assert_eq!(
        decided[0]["status"], "ORDER_STATUS_CONFIRMED",
        "{}",
        decided[0]
    );

    // each ends with success, or is named
    fleet.stop().await.unwrap();
    cluster.stop().await;
    broker.end().await;
}

#[tokio::test]
async fn a_stack_comes_up_and_goes_down() {
    if kafka::given("serve::a_stack_comes_up_and_goes_down").is_none() {
        return;
    }
    let broker = Broker::start("serve");
    let stack = Tool::start(&[
        "stack",
        "--port",
        "0",
        "--dir",
        "stack",
        "--kafka",
        &broker.kafka.bootstrap,
        "--topic-prefix",
        &broker.kafka.prefix,
    ]);
    let shop = Shop::at(&stack.ready().await);
    let placed = shop.place(&order("alice", "mug-blue")).await;
    let decided = shop.decided(&[placed]).await;
    assert_eq!(
        decided[0]["status"], "ORDER_STATUS_CONFIRMED",
        "{}",
        decided[0]
    );
    stack.signal(Signal::TERM);
    stack.ended(STOP_LIMIT).await.with(0);
    broker.end().await;
}

#[tokio::test]
async fn a_service_that_is_none_is_refused_with_those_that_are() {
    let refused = run(&["serve", "order", "nonsense"]).await.with(64);
    refused.complains(&["'nonsense'"]);
    let names: Vec<_> = SERVICES.iter().map(|spec| spec.name).collect();
    refused.complains(&names);
    let bare = Tool::start(&["serve", "order"]).ended(SOON).await.with(64);
    bare.complains(&[
        "order needs a database",
        "--database-url",
        "PALINODE_DATABASE_URL",
    ]);
}
